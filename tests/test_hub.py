"""A network goes to a hub and comes back: against a stand-in of the hub's API on this machine."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import torch

from fvdm.networks import load_network
from fvdm.tasks import Pipeline

REPO = "somebody/faces"


class Hub(BaseHTTPRequestHandler):
    "What an upload asks of a hub; files come inside the commit."

    def log_message(self, *args):
        pass

    def answer(self, record: dict) -> None:
        body = json.dumps(record).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.asked.append(self.path)
        self.answer({"id": REPO, "sha": "0" * 40, "siblings": []})

    def do_POST(self):
        self.server.asked.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self.answer({"files": files})
        if "/commit/" in self.path:
            self.server.lines += [json.loads(line) for line in body.splitlines()]
        here = f"http://127.0.0.1:{self.server.server_port}/{REPO}"
        self.answer({"url": here, "commitUrl": f"{here}/commit/{'1' * 40}", "commitOid": "1" * 40})


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.lines = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()


def test_push_to_hub(hub, tmp_path):
    pipe = Pipeline.from_pretrained("faces")
    pipe.push_to_hub(REPO, token="hf_nobody")
    assert any("repos/create" in path for path in hub.asked) and f"/api/models/{REPO}/commit/main" in hub.asked
    files = {line["value"]["path"]: line["value"] for line in hub.lines if line["key"] == "file"}
    assert files.keys() == {"README.md", "config.json", "model.safetensors"}
    for name, file in files.items():
        (tmp_path / name).write_bytes(base64.b64decode(file["content"]))
    assert huggingface_hub.ModelCard.load(tmp_path / "README.md").data.library_name == "fvdm"
    assert f'from_pretrained("{REPO}")' in (tmp_path / "README.md").read_text()
    weights = pipe.net.state_dict()
    assert all(torch.equal(v, weights[k].cpu()) for k, v in load_network(tmp_path).state_dict().items())
