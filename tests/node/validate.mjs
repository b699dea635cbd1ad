// Asks the official parser about the AsyncAPI document on standard input. Prints its diagnostics as JSON.
// Run in the folder where the packages are installed.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.cwd()}/`);
const { Parser } = require('@asyncapi/parser');

const { document, diagnostics } = await new Parser().parse(readFileSync(0, 'utf8'));
const said = diagnostics.map(({ code, message, path, severity }) => ({ code, message, path: path.join('/'), severity }));
process.stdout.write(JSON.stringify({
  diagnostics: said,
  channels: document ? document.channels().all().map((channel) => channel.id()) : [],
  messages: document ? document.messages().all().map((message) => message.id()) : [],
}));
