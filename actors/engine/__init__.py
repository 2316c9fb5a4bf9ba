"""Citrinets: where a model comes from, and the engines that run one."""
