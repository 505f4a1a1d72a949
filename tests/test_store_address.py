"""The address of a store: its password goes apart, and no error shows a piece of it."""

from __future__ import annotations

import pytest

from understudy.store_address import has_several_hosts, is_postgres, without_password


@pytest.mark.parametrize(
    ("given", "address", "password"),
    [
        ("postgresql://hub@db:5432/understudy", "postgresql://hub@db:5432/understudy", ""),
        ("postgres://hub:pa%40ss@db/u?sslmode=require", "postgresql://hub@db/u?sslmode=require", "pa@ss"),
        ("postgresql://hub:p#s?s:s w@db/u", "postgresql://hub@db/u", "p#s?s:s w"),
        ("postgresql://hub@db/u?password=a%26b&sslmode=require", "postgresql://hub@db/u?sslmode=require", "a&b"),
        ("postgresql://hub:パス@a:5432,b:5433/u", "postgresql://hub@a:5432,b:5433/u", "パス"),
        ("postgresql://h:p@[::1]:5432,[fe80::1]/u", "postgresql://h@[::1]:5432,[fe80::1]/u", "p"),
        ("postgresql:///u?host=%2Frun%2Fpg", "postgresql:///u?host=%2Frun%2Fpg", ""),
        ("postgresql://%2Frun%2Fpg/u", "postgresql://%2Frun%2Fpg/u", ""),
        ("postgresql://", "postgresql://", ""),
    ],
)
def test_a_password_goes_apart(given: str, address: str, password: str) -> None:
    assert is_postgres(given)
    assert without_password(given) == (address, password)


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://hub:hush@hush@db/u",
        "postgresql://hub:hu/sh@db/u",
        "postgresql://hub:hush%@db/u",
        "postgresql://hub:hush%00@db/u",
        "postgresql://hub:hush@db:port/u",
        "postgresql://hub:hush@db/u#hush",
        "postgresql://hub:hush@db/u?sslmode",
        "postgresql://hub:hush@db/u?SSLMODE=hush",
        "postgresql://hub:hush@db/u?password=hush",
        "postgresql://hub@db/u?sslpassword=hush",
        "postgresql://hub:hush\n@db/u",
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(given: str) -> None:
    with pytest.raises(ValueError, match=r"PostgreSQL|twice|secret") as refused:
        without_password(given)
    assert "hush" not in str(refused.value)
    assert "hu/sh" not in str(refused.value)


def test_a_long_address_is_read_in_linear_time() -> None:
    for part in ("a,", "[::1]:5,", "%2F", "a:1,", "?a=b&", "@", ":"):
        with pytest.raises(ValueError, match="PostgreSQL"):
            without_password(f"postgresql://{part * 100_000}!/")


def test_a_path_is_no_address() -> None:
    assert not is_postgres("/var/lib/postgresql/hub.db")
    assert not is_postgres("postgres")


def test_several_hosts_are_seen_wherever_they_stand() -> None:
    assert has_several_hosts("postgresql://hub@a,b/u")
    assert has_several_hosts("postgresql:///u?host=a%2Cb")
    assert not has_several_hosts("postgresql://a,b@host/u?options=-c%20a=1,2")
