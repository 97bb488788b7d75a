"""MovieLens: ml-latest-small, ml-latest, ml-32m and the like, ml-10m, ml-1m, ml-100k; a folder or a zip.

A movie's title is its title, its genres are its description. A user's own tags on a movie are the text of
that interaction alone: they never describe a movie, so they cannot tell a candidate (PROTOCOL, Titles).
Formats: the README of each data set at https://grouplens.org/datasets/movielens/ .
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from capo_data.duck import literal, parquet
from capo_data.errors import SourceError, UsageError
from capo_data.records import RatingScale, Reporter, SourceRequest
from capo_data.sources import delimited
from capo_data.sources.rows import RowFile, identifier
from capo_data.sources.staging import ReadResult, Staging, open_staging

READER_VERSION = 1

_RATING = ("userId", "movieId", "rating", "timestamp")
_MOVIE = ("movieId", "title", "genres")
_TAG = ("userId", "movieId", "tag", "timestamp")
# The last 19 cells of a u.item row are flags for these (README of ml-100k).
# fmt: off
_GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)
# fmt: on
_MOVIE_100K = ("movieId", "title", "released", "video", "address", *_GENRES_100K)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one generation of MovieLens lies on disk."""

    ratings: str
    movies: str
    tags: str | None
    separator: str
    movie_separator: str
    header: bool
    quoted: bool


_LAYOUTS = (
    _Layout("ratings.csv", "movies.csv", "tags.csv", ",", ",", header=True, quoted=True),
    _Layout("ratings.dat", "movies.dat", "tags.dat", "::", "::", header=False, quoted=False),
    _Layout("u.data", "u.item", None, "\t", "|", header=False, quoted=False),
)


def inputs(request: SourceRequest) -> tuple[Path, ...]:
    """The zip, or the files of ratings, movies and tags.

    Raises:
        UsageError: No path was named; MovieLens may not be redistributed, so it is fetched by hand.
        SourceError: The path holds no MovieLens data.
    """
    if request.path is None:
        raise UsageError(
            "MovieLens is read from a folder or zip that you have fetched",
            where="--source",
            why="its terms do not let others hand it on",
            next_command="fetch one from https://grouplens.org/datasets/movielens/ and name it: "
            "--source ml-latest-small.zip",
        )
    path = Path(request.path).expanduser()
    if path.suffix.lower() == ".zip" and path.is_file():
        return (path,)
    folder, layout = _recognise(path, request.category)
    names = (layout.ratings, layout.movies, *((layout.tags,) if layout.tags else ()))
    return tuple(folder / name for name in names if (folder / name).is_file())


def read(request: SourceRequest, folder: Path, report: Reporter) -> ReadResult:
    """Writes ratings and movies into `folder`.

    Raises:
        SourceError: The path holds no MovieLens data, or a file cannot be read.
    """
    assert request.path is not None  # inputs() has seen to it
    with (
        _unzipped(Path(request.path).expanduser(), folder / "unzipped") as place,
        open_staging(request, folder, report) as staging,
    ):
        root, layout = _recognise(place, request.category)
        tags = root / layout.tags if layout.tags and (root / layout.tags).is_file() else None
        # ml-100k and ml-1m have whole stars and no tags; every later one has half stars and tags.
        scale = request.scale or RatingScale(0.5 if tags or layout.header else 1, 5)
        said = _said(staging, tags, layout) if tags else None
        review = "said" if said else "NULL::VARCHAR"
        join = f"LEFT JOIN ({said}) AS tagged USING (userId, movieId)" if said else ""
        staging.interactions(
            _row_file(root / layout.ratings, _RATING, layout, layout.separator),
            lambda rows: (
                f"""SELECT line, userId AS user_id, movieId AS item_id, rating, timestamp AS given_time,
                    try_cast(try_cast(timestamp AS HUGEINT) * 1000 AS BIGINT) AS timestamp,
                    {review} AS review, false AS child_asin FROM ({rows}) {join}"""
            ),
            scale=scale,
            keys=("userId", "movieId", "timestamp"),
        )
        flags = layout.movie_separator == "|"
        movies = _row_file(
            root / layout.movies, _MOVIE_100K if flags else _MOVIE, layout, layout.movie_separator
        )
        genres = _genres_of_flags() if flags else _GENRES
        staging.items(
            movies,
            lambda rows: (
                f"""SELECT line, movieId AS item_id, title, {genres} AS description,
                NULL::VARCHAR AS details FROM ({rows})"""
            ),
            key="movieId",
        )
        return staging.finish(scale)


_GENRES = "replace(nullif(genres, '(no genres listed)'), '|', ', ')"


def _genres_of_flags() -> str:
    named = (name for name in _GENRES_100K if name != "unknown")
    flags = (f"CASE WHEN {identifier(name)} = '1' THEN {literal(name)} END" for name in named)
    return f"concat_ws(', ', {', '.join(flags)})"


def _said(staging: Staging, path: Path, layout: _Layout) -> str:
    """SQL of userId, movieId, said: the user's tags on the movie in the order they were given."""
    rows = staging.spooled(file := _row_file(path, _TAG, layout, layout.separator))
    staging.drop_broken(file, rows)
    kept = staging.scratch / "tags.parquet"
    staging.connection.execute(
        f"""COPY (SELECT userId, movieId,
                string_agg(tag, ', ' ORDER BY try_cast(timestamp AS BIGINT), tag) AS said
            FROM ({rows.sql}) WHERE trim(tag) <> '' GROUP BY ALL) TO {literal(kept)} (FORMAT parquet)"""
    )
    return f"SELECT * FROM {parquet([kept])}"


def _row_file(path: Path, names: tuple[str, ...], layout: _Layout, separator: str) -> RowFile:
    return delimited.row_file(
        path,
        names,
        names,
        separator=separator,
        header=layout.header,
        quoted=layout.quoted,
        encoding="utf-8" if layout.header else _encoding(path),
    )


def _encoding(path: Path) -> str:
    """ml-10m is UTF-8, what came before it Latin-1."""
    try:
        with path.open(encoding="utf-8") as text:
            for _ in text:
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


@contextmanager
def _unzipped(path: Path, folder: Path) -> Iterator[Path]:
    """The folder itself, or a temporary one with the zip's ratings, movies and tags."""
    if not path.is_file():
        yield path
        return
    wanted = {name for layout in _LAYOUTS for name in (layout.ratings, layout.movies, layout.tags) if name}
    folder.mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = PurePosixPath(member.filename).name
                if name in wanted:  # by its last part only, so no member can leave the folder
                    with archive.open(member) as packed, (folder / name).open("wb") as out:
                        shutil.copyfileobj(packed, out)
        yield folder
    except (zipfile.BadZipFile, EOFError) as error:
        raise SourceError(
            f"{path.name} is no readable zip",
            where=str(path),
            why=str(error),
            next_command="fetch it again from https://grouplens.org/datasets/movielens/",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _recognise(path: Path, name: str) -> tuple[Path, _Layout]:
    """The folder that holds the data, and its layout: `path`, `path/name`, or the only match one below."""
    below = sorted(path.glob("ml-*")) if path.is_dir() else []
    for folder in dict.fromkeys((path, path / name if name else path, *(below if len(below) == 1 else ()))):
        for layout in _LAYOUTS:
            if (folder / layout.ratings).is_file() and (folder / layout.movies).is_file():
                return folder, layout
    present = sorted(entry.name for entry in path.iterdir())[:12] if path.is_dir() else []
    pairs = ", or ".join(f"{layout.ratings} with {layout.movies}" for layout in _LAYOUTS)
    raise SourceError(
        "this is no MovieLens folder",
        where=str(path),
        why=f"looked for {pairs}; found {', '.join(present) or 'nothing'}",
        next_command="--source FOLDER_OR_ZIP from https://grouplens.org/datasets/movielens/",
    )
