// Asks the official parser about the AsyncAPI documents on standard input: a list of texts as JSON. Prints what it makes
// of each as JSON. They are parsed by one process, because loading the parser takes longer than parsing.
// Run in the folder where the packages are installed.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.cwd()}/`);
const { Parser } = require('@asyncapi/parser');

const parser = new Parser();
const results = [];
for (const text of JSON.parse(readFileSync(0, 'utf8'))) {
  const { document, diagnostics } = await parser.parse(text);
  results.push({
    diagnostics: diagnostics.map(({ code, message, path, severity }) => ({ code, message, path: path.join('/'), severity })),
    channels: document ? document.channels().all().map((channel) => channel.id()) : [],
    messages: document ? document.messages().all().map((message) => message.id()) : [],
  });
}
process.stdout.write(JSON.stringify(results));
