import pytest

from cal_pipeline.cherenkov.database.location import DEFAULT_URL, hide_password, read_database_configuration
from cal_pipeline.cherenkov.errors import ConfigurationError

pytestmark = pytest.mark.cherenkov


def test_published_section_becomes_a_url_of_psycopg():
    section = {"user": "U", "password": "P", "database": "D", "host": "postgres", "port": None, "autocommit": True}
    assert read_database_configuration(section) == "postgresql+psycopg://U:P@postgres/D"


@pytest.mark.parametrize("section", [{}, {"url": None}, {"autocommit": True}])
def test_empty_section_names_the_default(section):
    assert read_database_configuration(section) == DEFAULT_URL


def test_url_as_it_stands():
    assert read_database_configuration({"url": "sqlite:////data/a b.db"}) == "sqlite:////data/a b.db"


@pytest.mark.parametrize("host", ["db.example.org", "/var/run/postgres sql", None])
@pytest.mark.parametrize("port", [None, 5433, "5433"])
@pytest.mark.parametrize("password", ["", None, "a:b@c/d?e#f%20 ü", "@", "1"])
def test_sqlalchemy_reads_what_was_given(host, port, password):
    make_url = pytest.importorskip("sqlalchemy").make_url
    section = {"user": "a@b:c", "password": password, "database": "d/é", "host": host, "port": port}
    url = make_url(read_database_configuration(section))
    query = url.query
    assert (url.host or query.get("host")) == host
    assert (url.port or query.get("port")) == (port and (int(port) if url.port else str(port)))
    assert (url.username, url.password or "", url.database) == ("a@b:c", password or "", "d/é")
    assert url.drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"pasword": "x"}, ["'pasword'", "password"]),
        ({"zzz": "x"}, ["'zzz'", "url, user"]),
        ({"url": "sqlite://", "user": "me"}, ["url and user"]),
        ({"url": "calibpipe.db"}, ["'calibpipe.db'", DEFAULT_URL]),
        ({"url": "me:secret@db/cta"}, ["'me:***@db/cta' is none", DEFAULT_URL]),
        ({"user": "me"}, ["user", "expected database"]),
        ({"database": "d", "port": "x1"}, ["'x1'", "5432"]),
        ({"database": "d", "password": "secret"}, ["expected user"]),
    ],
)
def test_useless_sections_are_refused_without_their_password(section, words):
    with pytest.raises(ConfigurationError) as caught:
        read_database_configuration(section)
    assert all(word in str(caught.value) for word in words)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("password", ["secret", "se:cret", "se@cret", "se/cret", "secret?x=y#z"])
@pytest.mark.parametrize("rest", ["host/db", "host:5432/db?sslmode=require", "/db?host=/tmp"])
def test_no_password_is_shown(password, rest):
    hidden = hide_password(f"postgresql+psycopg://me:{password}@{rest}")
    assert hidden == f"postgresql+psycopg://me:***@{rest}"


def test_no_password_of_the_query_is_shown():
    assert (
        hide_password("postgresql://h/db?user=me&password=secret&x=1") == "postgresql://h/db?user=me&password=***&x=1"
    )
    assert hide_password("postgresql://h/db?passwrd=secret") == "postgresql://h/db?passwrd=***"


@pytest.mark.parametrize(
    "url", ["sqlite:///a.db", "me@db:5/cta", "postgresql+psycopg://me@/db?host=/tmp", "", "calibpipe.db"]
)
def test_urls_without_a_password_stay(url):
    assert hide_password(url) == url
