"""Forecasts what a prepared run would take, and shows it."""

from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import say, show_table
from jobs.planning.forecast import Load, forecast
from jobs.planning.forecast_words import ForecastTold, rows, sentences, to_json
from jobs.planning.prepare import Prepared
from jobs.planning.rates import rates_of
from jobs.running.machines import find_machines


def show_forecast(config: Config, prepared: Prepared, pieces: int) -> ForecastTold | None:
    """Shows how long a plan of so many pieces takes to hear, and what it costs. Returns that for the JSON object; None,
    with the reason said, if the machines are not such that the run could start."""
    try:
        machines = find_machines(config, prepared.recipe.device)
    except ConfigError as problem:
        say(f"how long it takes cannot be told for these machines: {problem}", "yellow")
        return None
    rates = rates_of(prepared.output, prepared.recipe)
    found = forecast(Load.of(prepared.plan, pieces, rates), rates, machines, config.plan.cost_per_hour)
    show_table("How long", ("", ""), list(rows(found)))
    for sentence in sentences(found):
        say(sentence)
    return to_json(found)
