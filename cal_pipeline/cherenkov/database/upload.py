"""Uploads to the database: all rows of one, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from cal_pipeline.cherenkov.database.store import Database, import_connection
from cal_pipeline.cherenkov.errors import CorruptedInputError, StorageError
from cal_pipeline.cherenkov.observatory import Observatory

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

NEW, SAME, REPLACED = "new", "same", "replaced"
"""Outcomes of an upload."""


def upload_observatories(database: Database, observatories: Sequence[Observatory], overwrite: bool) -> list[str]:
    """Upload observatories with their seasons.

    Parameters
    ----------
    database : Database
        The database.
    observatories : sequence of Observatory
        Observatories.
    overwrite : bool
        Replace those that the database has otherwise.

    Returns
    -------
    list of str
        Outcome for each: :data:`NEW`, :data:`SAME` or :data:`REPLACED`.

    Raises
    ------
    StorageError
        If one is there with another content, unless `overwrite`; then none is written.
    """
    with import_connection().begin_transaction(database.engine, writes=True) as session:
        return [_upload_observatory(session, observatory, overwrite, database) for observatory in observatories]


def _upload_observatory(session: Session, observatory: Observatory, overwrite: bool, database: Database) -> str:
    from sqlalchemy import select

    from cal_pipeline.cherenkov.database.tables import ObservatoryRow, SeasonRow

    values = {key: value for key, value in asdict(observatory).items() if key != "seasons"}
    key = {"name_Observatory": observatory.name, "version_Observatory": observatory.version}
    seasons = {
        season.name: {**key, "name": season.name, "alias": season.alias, "start": season.start, "stop": season.stop}
        for season in observatory.seasons
    }
    row = session.get(ObservatoryRow, (observatory.name, observatory.version))
    present = {season.name: season for season in session.scalars(select(SeasonRow).filter_by(**key))}
    if row is None:
        session.add(ObservatoryRow(**values))
        # The observatory has to be there before its seasons.
        session.flush()
        session.add_all(SeasonRow(**season) for season in seasons.values())
        return NEW
    differences = _compare(row, values)
    differences += [f"season {name}" for name in sorted(seasons.keys() ^ present.keys())]
    for name in seasons.keys() & present.keys():
        differences += [f"{column} of season {name}" for column in _compare(present[name], seasons[name])]
    if not differences:
        return SAME
    _refuse(f"observatory {observatory.name} version {observatory.version}", differences, overwrite, database)
    for name in present.keys() - seasons.keys():
        session.delete(present[name])
    for instance in (ObservatoryRow(**values), *(SeasonRow(**season) for season in seasons.values())):
        session.merge(instance)
    return REPLACED


def upload_model(database: Database, rows: Mapping[str, Mapping[str, Any]], overwrite: bool) -> str:
    """Upload a reference model.

    A current model replaces the others of its observatory and season, which are no longer current.

    Parameters
    ----------
    database : Database
        The database.
    rows : mapping
        A row of each table; see :func:`cal_pipeline.cherenkov.model_upload.read_model`.
    overwrite : bool
        Replace a model that the database has otherwise.

    Returns
    -------
    str
        :data:`NEW`, :data:`SAME` or :data:`REPLACED`.

    Raises
    ------
    CorruptedInputError
        If the database has no such observatory.
    StorageError
        If the model is there with another content, unless `overwrite`; then nothing is written.
    """
    from cal_pipeline.cherenkov.database.tables import Base

    classes: dict[str, Any] = {mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers}
    model = rows["AtmosphericModel"]
    version = model["version"]
    with import_connection().begin_transaction(database.engine, writes=True) as session:
        _require_observatory(session, model, database)
        present = {name: session.get(classes[name], version) for name in rows}
        found = present["AtmosphericModel"]
        differences = [
            f"{name}.{column}" for name, values in rows.items() for column in _compare(present[name], values)
        ]
        if found is not None:
            _refuse(f"atmospheric model {version}", differences, overwrite, database)
        for name, values in rows.items():
            if found is None or differences:
                session.merge(classes[name](**values))
                session.flush()
        if model["current"]:
            _retire_others(session, model)
    return NEW if found is None else REPLACED if differences else SAME


def _require_observatory(session: Session, model: Mapping[str, Any], database: Database) -> None:
    from cal_pipeline.cherenkov.database.tables import ObservatoryRow

    key = (model["name_Observatory"], model["version_Observatory"])
    if session.get(ObservatoryRow, key) is None:
        raise CorruptedInputError(
            f"atmospheric model {model['version']}: database {database.location} has no observatory {key[0]} version "
            f"{key[1]}; upload it first"
        )


def _retire_others(session: Session, model: Mapping[str, Any]) -> None:
    """Mark the other models of an observatory and season as no longer current."""
    from sqlalchemy import update

    from cal_pipeline.cherenkov.database.tables import AtmosphericModelRow as Row

    session.execute(
        update(Row)
        .where(
            Row.name_Observatory == model["name_Observatory"],
            Row.version_Observatory == model["version_Observatory"],
            Row.season == model["season"],
            Row.version != model["version"],
            Row.current,
        )
        .values(current=False)
    )


def _compare(row: Any, values: Mapping[str, Any]) -> list[str]:
    """List the columns in which a row is not as given; all if there is no row."""
    return [column for column, value in values.items() if row is None or not _is_same(getattr(row, column), value)]


def _is_same(first: Any, second: Any) -> bool:
    if isinstance(second, np.ndarray):
        return np.array_equal(first, second, equal_nan=True)
    return bool(first == second)


def _refuse(noun: str, differences: Iterable[str], overwrite: bool, database: Database) -> None:
    named = list(differences)
    if named and not overwrite:
        raise StorageError(
            f"database {database.location} has {noun} with other values of {', '.join(named)}; "
            "give overwrite=True to replace them"
        )
