"""Puts a model on an Ollama server by Ollama's own Python client, as tunesmith does it.

usage: put_model.py HOST GGUF TAG ALIAS NAME BODY     BODY is what the server was told of TAG, as JSON

Prints what the client read, as JSON.
"""

import json
import sys

import ollama

host, gguf, tag, alias, name, body = sys.argv[1:]
body = json.loads(body)
client = ollama.Client(host)

listed = {model.model: model.digest for model in client.list().models}
shown = client.show(alias)
digest = client.create_blob(gguf)
assert client.create_blob(gguf) == digest, "a second time it is there"
steps = client.create(
    name,
    files={file: digest for file in body["files"]},
    template=shown.template,
    system=body.get("system"),
    parameters=body.get("parameters"),
    stream=True,
)
statuses = [step.status for step in steps]
client.copy(name, name + ":copy")
client.delete(name + ":copy")
try:
    client.delete(name + ":copy")
    refused = None
except ollama.ResponseError as error:
    refused = error.status_code
answer = client.chat(alias, [{"role": "user", "content": "hello"}])
print(
    json.dumps(
        {
            "same": listed[tag] == listed[alias],
            "template": shown.template,
            "format": shown.details.format,
            "parameters": shown.parameters,
            "digest": digest,
            "status": statuses[-1],
            "refused": refused,
            "tokens": answer.prompt_eval_count,
        }
    )
)
