"""What is wrong with a configuration."""


class ConfigError(Exception):
    """Mistakes in the configuration, each as a sentence that names the key and what would be right."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))
