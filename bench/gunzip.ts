/** The baseline: decompresses each file named on the command line with node:zlib and drops what comes out. */
import { createReadStream } from 'node:fs';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';

const CHUNK = 1 << 20;

for (const path of process.argv.slice(2)) {
  const drop = new Writable({
    highWaterMark: CHUNK,
    write(_chunk, _encoding, done) {
      done();
    },
  });
  await pipeline(createReadStream(path, { highWaterMark: CHUNK }), createGunzip({ chunkSize: CHUNK }), drop);
}
