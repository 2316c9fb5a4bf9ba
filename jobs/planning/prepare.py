"""Turns a configuration into a plan, for runs and dry runs. Does not start Ray."""

import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from actors.engine.devices import NO_INT8, cpu_has_int8
from actors.engine.models import is_hub_name, read_vocabulary, resolve
from actors.extras import how_to_install
from actors.pieces import Cut
from actors.schema import SAMPLE_RATE, UsageError
from actors.storage.place import Place
from actors.storage.preflight import check_storage, check_writable
from actors.text.decoding import load_decoder
from actors.text.written.write import load_write
from actors.units import Unit
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import StatusLine
from jobs.planning.accepted import Accepted, read_accepted
from jobs.planning.corrections import object_errors
from jobs.planning.decoding import notes_of, resolve_decoding
from jobs.planning.estimates import calibrate
from jobs.planning.limits import as_many_as_before
from jobs.planning.listing import Listing, list_input
from jobs.planning.plans import State
from jobs.planning.recipe import Devices, Recipe
from jobs.planning.redo import objects_to_redo
from jobs.planning.sizing import planned_cut
from jobs.planning.state import load_state, made_of, units_with_errors
from jobs.planning.verdicts import Plan, Policy, make_plan
from jobs.planning.written import resolve_text


@dataclass(frozen=True)
class Prepared:
    """The result of planning: the units to process, and how."""

    listing: Listing
    state: State
    plan: Plan
    recipe: Recipe
    output: Place
    accepted: Accepted = field(default_factory=Accepted)
    notes: Sequence[str] = ()  # for the person who runs it

    @property
    def output_uri(self) -> str:
        return self.output.uri

    def cut_of(self, unit: Unit) -> Cut:
        """The cut of a unit into pieces, as planned."""
        recipe = self.recipe
        min_stretch_s = recipe.reading.segmentation.anchor_distance / SAMPLE_RATE
        return planned_cut(unit, recipe.piece_seconds, min_stretch_s, self.plan.estimate)


def prepare(
    config: Config,
    find_devices: Callable[[], Devices],
    check_address: Callable[[], None] = lambda: None,
    keeps_files: bool = False,
) -> Prepared:
    """Lists the input, reads the state of the output, and plans a run on the devices found. Raises ConfigError.

    With `keeps_files`, the listing tells of each file what became of it.
    A cluster may have to be asked for its devices, so that comes after all that may be wrong with the configuration.
    Whether it answers at its address, `check_address` finds out before anything is read.
    """
    check(config)
    check_address()
    line = StatusLine()
    gc.disable()  # millions of live objects: collections would free nothing and take a third of the time
    try:
        return _prepare(config, find_devices, line, keeps_files)
    except (UsageError, PermissionError) as problem:
        raise ConfigError(str(problem)) from None
    finally:
        line.clear()
        gc.enable()


def check(config: Config) -> None:
    """Raises ConfigError for what cannot work, before anything is read."""
    uri = config.output.uri
    if is_on_cluster(config) and "://" not in uri and not uri.startswith("/"):
        raise ConfigError(
            f"output.uri: {uri} is relative, but on a cluster each machine has its own working folder; use a URL such"
            " as s3://bucket/transcripts, or an absolute path that all machines share"
        )
    if config.model.precision == "int8" and not is_on_cluster(config) and not cpu_has_int8():
        raise ConfigError(NO_INT8)
    if config.segmentation.vad == "silero" and find_spec("silero_vad") is None:
        raise ConfigError(f"segmentation.vad: silero needs the package silero-vad: {how_to_install('vad')}")


def _prepare(
    config: Config, find_devices: Callable[[], Devices], line: StatusLine, keeps_files: bool = False
) -> Prepared:
    check_writable(config.output.place(), "output.uri")
    output = config.output.asked_place()
    _check_inputs(config)
    model = resolve(
        config.model.name, config.model.revision, config.model.options(), is_fused=config.model.engine != "nemo"
    )
    listing = list_input(
        config.input, config.output.uri, lambda files: line.say(f"listing: {files:,} files …"), keeps_files
    )
    line.say(f"planning {len(listing.objects):,} objects …")
    max_bytes = config.input.max_list_megabytes * 1e6
    accepted = read_accepted(config.errors, config.output.options(), max_bytes, listing.roots)
    redo = objects_to_redo(config.input, listing)
    decoding, text = resolve_decoding(config), resolve_text(config)
    if decoding.lm:
        line.say("reading the language model …")
    loaded = load_decoder(decoding, read_vocabulary(model))
    load_write(text)  # a mistake in it is told before any work
    state = load_state(output)
    if not config.input.takes_all:
        listing.objects = as_many_as_before(listing.objects, state, output)
    recipe = Recipe.of(config, model, find_devices(), decoding, text)
    asked, reading = frozenset[str](config.errors.retry), recipe.reading
    policy = Policy(
        target_seconds=recipe.piece_seconds,
        on_mismatch=config.output.on_mismatch,
        on_deleted=config.output.on_deleted,
        on_excluded=config.output.on_excluded,
        max_removed_fraction=config.output.max_removed_fraction,
        asked=asked,
        retry=units_with_errors(asked, state, output),
        redo=redo,
        calibrate=lambda objects: (
            calibrate(objects, reading.storage_options, of_each_channel=reading.channel == "each").seconds
        ),
        made=lambda unit: made_of(unit, output),
        errors=lambda unit: object_errors(unit, output),
    )
    plan, notes = make_plan(listing, state, recipe.settings, policy), notes_of(config.decoding, loaded)
    return Prepared(listing, state, plan, recipe, output, accepted, notes)


def _check_inputs(config: Config) -> None:
    """Raises UsageError for storage that cannot be used, before a model is fetched or anything listed."""
    places = [Place.at(uri, config.input.options()) for uri in config.input.uris]
    for place in {each.store: each for each in places}.values():
        check_storage(place, "input.uri")
    if not is_hub_name(config.model.name):
        check_storage(Place.at(config.model.name, config.model.options()), "model.name")


def is_on_cluster(config: Config) -> bool:
    """Whether a run would use an existing cluster, as inside a Ray Job, instead of starting a local Ray."""
    return cluster_address(config.ray.address) is not None


def cluster_address(stated: str | None) -> str | None:
    """The address of an existing cluster by ray.address or, if that is null or `auto`, RAY_ADDRESS; None for a local
    Ray."""
    address = os.environ.get("RAY_ADDRESS") or stated if stated in (None, "", "auto") else stated
    return None if address in (None, "", "local") else address
