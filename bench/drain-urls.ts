/** Reads all URLs of a JSON array on standard input at once; prints the bytes and the seconds as JSON. A client of agents to be measured. */
import { text } from 'node:stream/consumers';

const urls = JSON.parse(await text(process.stdin)) as string[];
const started = performance.now();
const parts = await Promise.all(
  urls.map(async (url) => {
    const got = await fetch(url);
    if (!got.ok) throw new Error(`${url}: HTTP ${got.status}`);
    let bytes = 0;
    for await (const chunk of got.body!) bytes += chunk.length;
    return bytes;
  }),
);
const seconds = (performance.now() - started) / 1000;
process.stdout.write(JSON.stringify({ bytes: parts.reduce((sum, part) => sum + part, 0), seconds }));
