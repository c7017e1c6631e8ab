// Puts a model on an Ollama server by Ollama's own JavaScript client, as tunesmith does it. It sends no files: the server has
// them.
//
// usage: node put_model.mjs CLIENT HOST TAG ALIAS NAME BODY     CLIENT is where the client lies, BODY what the server was told
// of TAG, as JSON
//
// Prints what the client read, as JSON.

import { pathToFileURL } from 'node:url'

const [path, host, tag, alias, name, text] = process.argv.slice(2)
const { Ollama } = await import(pathToFileURL(path).href)
const body = JSON.parse(text)
const client = new Ollama({ host })

const listed = Object.fromEntries((await client.list()).models.map((model) => [model.name, model.digest]))
const shown = await client.show({ model: alias })
let status
for await (const step of await client.create({ model: name, ...body, template: shown.template, stream: true })) {
  status = step.status
}
await client.copy({ source: name, destination: `${name}:copy` })
await client.delete({ model: `${name}:copy` })
let refused = null
try {
  await client.delete({ model: `${name}:copy` })
} catch (error) {
  refused = error.status_code
}
const messages = [{ role: 'user', content: 'hello' }]
const rendered = await client.chat({ model: alias, messages, stream: false, _debug_render_only: true })
console.log(
  JSON.stringify({
    same: listed[tag] === listed[alias],
    template: shown.template,
    format: shown.details.format,
    parameters: shown.parameters,
    status,
    refused,
    rendered: rendered._debug_info.rendered_template,
  })
)
