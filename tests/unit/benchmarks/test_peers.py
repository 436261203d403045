"""Other gateways as options of the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.overhead.__main__ import main
from benchmarks.overhead.peers import MODES, Peer, PeerError, read_peer, read_processor
from benchmarks.procfs import cpu_seconds, tree_cpu_seconds
from benchmarks.variant import adapted, filled


def test_a_proxy() -> None:
    assert read_peer("LiteLLM=litellm --port {port},0,/health") == Peer(
        "LiteLLM", ("litellm", "--port", "{port}"), 0, "/health"
    )
    assert read_peer("p='a b' --list 1,2,8000") == Peer("p", ("a b", "--list", "1,2"), 8000)


def test_a_processor() -> None:
    plain = read_processor("AIBrix=gateway-plugins --standalone --grpc-bind-address=:{port},50052")
    assert (plain.port, plain.processing_mode, plain.target_header) == (50052, {}, "")
    assert plain.command == ("gateway-plugins", "--standalone", "--grpc-bind-address=:{grpc}")
    streamed = read_processor("a=b,1,streamed")
    assert streamed.processing_mode == MODES["streamed"]
    picker = read_processor("llm-d=sh epp.sh,0,full-duplex,x-gateway-destination-endpoint")
    assert picker.processing_mode == MODES["full-duplex"]
    assert (picker.command, picker.target_header) == (("sh", "epp.sh"), "x-gateway-destination-endpoint")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name", "must be name=command,port"),
        ("=command,1", "must be name=command,port"),
        ("a/b=command,1", "may have no slash"),
        ("a=b,port", "port 'port' must be 0"),
        ("a=b,70000", "port '70000' must be 0"),
        ("a=,1", "the command is empty"),
        ("a='b,1", "No closing quotation"),
    ],
)
def test_mistakes_of_proxies(text: str, said: str) -> None:
    with pytest.raises(PeerError, match=said):
        read_peer(text)


def test_names_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    for names in (["Envoy alone=a,1"], ["x=a,1", "x=b,2"]):
        with pytest.raises(SystemExit):
            main([f"--peer={name}" for name in names])
        assert "the name is taken" in capsys.readouterr().err


def test_a_mode_that_is_none() -> None:
    with pytest.raises(PeerError, match="mode 'fast' is none of buffered, streamed, full-duplex"):
        read_processor("a=b,1,fast")


def test_placeholders() -> None:
    assert filled(("{port}", "{other}", "a{upstream}/v1"), {"port": 1, "upstream": "http://x"}) == [
        *("1", "{other}", "ahttp://x/v1")
    ]


def test_envoy_is_told_modes_and_the_header() -> None:
    ext_proc = {
        "name": "envoy.filters.http.ext_proc",
        "typed_config": {"processing_mode": {"request_body_mode": "BUFFERED"}},
    }
    lua = {"name": "envoy.filters.http.lua"}
    manager = {"typed_config": {"http_filters": [lua, ext_proc]}}
    clusters = [{"sources": [{"header": "target-pod"}]}]
    listeners = [{"filter_chains": [{"filters": [manager]}]}]
    bootstrap = {"static_resources": {"listeners": listeners, "clusters": clusters}}
    new = adapted(bootstrap, read_processor("a=b,1,full-duplex,x-pod"))["static_resources"]
    filters = new["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    assert [one["name"] for one in filters] == ["envoy.filters.http.ext_proc"]
    assert filters[0]["typed_config"]["processing_mode"]["request_body_mode"] == "FULL_DUPLEX_STREAMED"
    assert new["clusters"] == [{"sources": [{"header": "x-pod"}]}]


def test_cpu_of_a_tree_has_that_of_children() -> None:
    busy = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ntime.sleep(30)"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.01)
        assert tree_cpu_seconds(process.pid) >= cpu_seconds(process.pid) + 0.19
        os.killpg(process.pid, signal.SIGKILL)
    assert tree_cpu_seconds(process.pid) == 0
