// Runs the sources of an installed neo.mjs over a workspace and writes their chunks to a file.
//
// node reference.mjs ENGINE OUT < settings, with settings as JSON: {neoRootDir, hierarchyPath, sourcePaths,
// order}. Prints {seconds, maxRssKiB, chunks}: `seconds` is the extraction alone, without start-up.
import {createHash}        from 'node:crypto';
import {createWriteStream} from 'node:fs';
import {text}              from 'node:stream/consumers';
import {pathToFileURL}     from 'node:url';

const FINGERPRINT_KEYS = ['type', 'name', 'description', 'content', 'extends', 'configType', 'params', 'returns'];

const [engine, out] = process.argv.slice(2);
const {order, ...config} = JSON.parse(await text(process.stdin));
const load = path => import(pathToFileURL(`${engine}/${path}`));

// The engine's configuration module hands out this object, see extraction.py.
globalThis.benchmarkConfig = config;
// Warnings about files that do not parse are not what is measured.
console.warn = () => {};

await load('src/Neo.mjs');
await load('src/core/_export.mjs');

const sources = [];

for (const name of order) {
    sources.push((await load(`ai/services/knowledge-base/source/${name}.mjs`)).default);
}

const fingerprint = chunk => createHash('sha256')
    .update(JSON.stringify(Object.fromEntries(FINGERPRINT_KEYS.map(key => [key, chunk[key]]))))
    .digest('hex');

const started = performance.now();
const stream  = createWriteStream(out);
let   chunks  = 0;

for (const source of sources) {
    chunks += await source.extract(stream, fingerprint);
}

await new Promise((resolve, reject) => stream.on('error', reject).end(resolve));

console.log(JSON.stringify({
    chunks,
    maxRssKiB: process.resourceUsage().maxRSS,
    seconds  : (performance.now() - started) / 1000
}));
