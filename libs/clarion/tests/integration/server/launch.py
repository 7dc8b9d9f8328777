"""Start `clarion.server.Server` from Python, with options that the command line does not have."""

from __future__ import annotations

import argparse
import importlib
import json
import logging

from clarion.server import Server  # before anything else: it installs the reactor on uvloop


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-b", dest="host")
    parser.add_argument("-p", dest="port", type=int)
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("application")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    module, _, name = arguments.application.partition(":")
    apps = importlib.import_module(module)
    endpoint = f"tcp:port={arguments.port}:interface={arguments.host}"
    server = Server(getattr(apps, name), endpoints=[endpoint], **arguments.options)
    if prepare := getattr(apps, "prepare", None):
        prepare(server)
    server.run()
    print("run() returned", flush=True)


main()
