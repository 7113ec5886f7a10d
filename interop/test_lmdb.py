"""iddpm reads a database written by Python's lmdb, as LSUN's are."""

import json
import pathlib

import lmdb

IMAGES = pathlib.Path(__file__).resolve().parent.parent / "data/imaging/testdata/pillow"


def test_database(iddpm, tmp_path):
    files = {"0a1b": "rgb.webp", "2c": "rgb_420.jpg", "ff": "gray.jpg"}
    with lmdb.open(str(tmp_path / "bedroom_val_lmdb"), map_size=1 << 40) as database:
        with database.begin(write=True) as transaction:
            for key, name in files.items():
                assert transaction.put(key.encode(), (IMAGES / name).read_bytes())
    found = json.loads(iddpm("data", "info", tmp_path / "bedroom_val_lmdb", "--json"))
    assert found["pictures"] == 3 and found["bad"] == []
    assert found["sizes"] == [{"width": 101, "height": 75, "count": 3}]
