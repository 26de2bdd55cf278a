"""A server is a model of Label Studio: what it answers to what Label Studio sends is what the predictor finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from papermage_core import read_documents
from papermage_core.config.readers import ReaderChoice
from papermage_core.prediction import EntityClassificationPredictor

TEXTS = ["the old Berta Celan 417 with 𝛼 very new Dufay Elgar 33 under", "", "nothing of it"]
CONFIG = """<View>
  <Header value="Names"/>
  <Labels name="kind" toName="abstract" choice="multiple">
    <Label value="names" background="red"/><Label value="Amount" alias="amounts"/>
  </Labels>
  <Text name="abstract" value="$body"/>
</View>"""


def tasks(texts: list[Any], config: str = CONFIG, key: str = "body") -> dict[str, Any]:
    """What Label Studio 1.x sends (its ``ml/api_connector.py``), fields that nobody reads included."""
    made = [{"id": 7 + n, "data": {key: text, "pmid": n}, "predictions": []} for n, text in enumerate(texts)]
    params = {"login": "a", "password": "b", "context": None}
    return {"tasks": made, "project": "3.1700000000", "label_config": config, "params": params}


def post(server: Any, path: str, value: Any) -> Any:
    return server.ask(f"/label-studio/{path}", json.dumps(value).encode(), "application/json")


def setup(config: str) -> dict[str, Any]:
    return {"project": "3.17", "schema": config, "hostname": "http://h", "access_token": "secret", "extra_params": None}


def test_its_project_is_set_up_and_shows_what_the_predictor_finds(
    server: Any, checkpoint: Path, tmp_path: Path
) -> None:
    assert server.ask("/label-studio/health").status == 200
    version = post(server, "setup", setup(CONFIG)).json["model_version"]
    answer = post(server, "predict", tasks(TEXTS)).json
    assert answer["model_version"] == version
    predictor = EntityClassificationPredictor.from_pretrained(checkpoint, processors="tokens")
    expected = predictor.predict(TEXTS[0])
    assert {entity.label for entity in expected} == {"names", "amounts"}
    found, empty, nothing = answer["results"]
    assert [each["result"] for each in (empty, nothing)] == [[], []]
    assert found["score"] == pytest.approx(sum(e.score for e in expected) / len(expected), abs=1e-3)
    assert found["model_version"] == version
    for result, entity in zip(found["result"], expected, strict=True):
        assert (result["from_name"], result["to_name"], result["type"]) == ("kind", "abstract", "labels")
        start, end = result["value"]["start"], result["value"]["end"]
        assert TEXTS[0][start:end] == result["value"]["text"] == entity.text
        assert result["value"]["labels"] == [entity.label]
        assert result["score"] == pytest.approx(entity.score, abs=1e-3)
    assert len({result["id"] for result in found["result"]}) == len(expected)

    exported = tmp_path / "export.json"  # the reader of its exports finds the same
    exported.write_text(json.dumps([{"id": 1, "data": {"body": TEXTS[0]}, "predictions": [found]}]))
    (document,) = read_documents(exported, reader=ReaderChoice(name="label_studio", options={"take": "predictions"}))
    for label in ("names", "amounts"):
        assert [e.text for e in document.get_layer(label)] == [e.text for e in expected if e.label == label]


def test_labels_that_the_project_lacks_are_left_out(server: Any) -> None:
    only = CONFIG.replace('<Label value="Amount" alias="amounts"/>', "")
    (found,) = post(server, "predict", tasks(TEXTS[:1], only)).json["results"]
    assert {label for result in found["result"] for label in result["value"]["labels"]} == {"names"}
    any_label = '<View><Labels name="l" toName="t" value="$labels"/><Text name="t" value="$body"/></View>'
    (found,) = post(server, "predict", tasks(TEXTS[:1], any_label)).json["results"]
    assert {label for result in found["result"] for label in result["value"]["labels"]} == {"names", "amounts"}
    named = CONFIG.replace('value="Amount" alias="amounts"', 'value="amounts" alias="n"')
    (found,) = post(server, "predict", tasks(TEXTS[:1], named)).json["results"]
    assert {label for result in found["result"] for label in result["value"]["labels"]} == {"names", "n"}


PICTURES = '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i"/></View>'


@pytest.mark.parametrize(
    ("path", "value", "status", "where", "what"),
    [
        ("setup", setup(PICTURES), 422, "the project's setup", "no labels of a text"),
        (
            "setup",
            setup(CONFIG.replace("<Text ", '<Text valueType="url" ')),
            422,
            "the project's setup",
            "no labels of",
        ),
        ("setup", setup("<View>"), 422, "the project's setup", "is not XML: no element found"),
        ("setup", setup('<!DOCTYPE a [<!ENTITY b "c">]><View/>'), 422, "the project's setup", "DOCTYPE"),
        ("setup", {"project": 3}, 422, "body", "missing required field `schema`"),
        ("predict", tasks(["a", 3]), 422, "tasks[1].data.body", "there is no text"),
        ("predict", tasks(["a"], key="text"), 422, "tasks[0].data.body", "there is no text"),
        ("predict", tasks(["/data/upload/3/a.txt"]), 422, "tasks[0].data.body", "is an address, not a text"),
        ("predict", {"tasks": {}}, 422, "$.tasks", "Expected `array`"),
        ("predict", tasks(["a"] * 21), 413, None, "more than 20 documents"),
        ("predict", tasks(["a " * 10_001]), 413, None, "more than 20000 characters"),
    ],
)
def test_what_cannot_be_answered_says_where(
    server: Any, path: str, value: Any, status: int, where: str, what: str
) -> None:
    answer = post(server, path, value)
    assert (answer.status, answer.error.get("where")) == (status, where)
    assert what.lower() in answer.error["what"].lower()
    assert "secret" not in answer.body.decode()


def test_other_bodies_are_refused(server: Any) -> None:
    refused = server.ask("/label-studio/predict", b"text", "text/plain")
    assert (refused.status, refused.error["do"]) == (415, "send texts and files to /predict")
    assert server.ask("/label-studio/predict", b"{", "application/json").status == 400
    assert server.ask("/label-studio/setup").status == 405
    assert server.ask("/label-studio/setup", method="OPTIONS").headers["allow"] == "POST"
    assert server.ask("/label-studio/train", b"{}", "application/json").status == 404
