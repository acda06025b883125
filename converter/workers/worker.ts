/** The program of a worker thread: compresses batches, or decompresses one gzip stream after another. */
import { parentPort, workerData } from 'node:worker_threads';
import { GzipStream } from '../../formats/gzip/stream.ts';
import { makeBlockCompressor } from '../../formats/zfile/compressor.ts';
import {
  type CompressReply,
  type CompressRequest,
  type GunzipReply,
  type GunzipRequest,
  type SharedSlots,
  toPlain,
  type WorkerRole,
} from './messages.ts';

const port = parentPort!;
const role = workerData as WorkerRole;

if (role.role === 'compress') {
  const compressor = makeBlockCompressor(role.algorithm, role.blockSize);
  port.on('message', async ({ id, bytes }: CompressRequest) => {
    try {
      const batch = (await compressor).compress(bytes);
      const reply: CompressReply = { id, bytes: batch.bytes, lengths: batch.lengths };
      port.postMessage(reply, [batch.bytes.buffer as ArrayBuffer, batch.lengths.buffer as ArrayBuffer]);
    } catch (error) {
      port.postMessage({ id, error: toPlain(error) } satisfies CompressReply);
    }
  });
} else {
  gunzip(role.slots);
}

function gunzip(slots: SharedSlots): void {
  const say = (reply: GunzipReply): void => port.postMessage(reply);
  const flags = new Int32Array(slots.flags);
  let slot = 0;
  let stream: GzipStream | undefined;
  const onOutput = (bytes: Uint8Array): void => {
    for (let from = 0; from < bytes.length; from += slots.size) {
      // Waits until the reader has let go of the slot: so a stream that inflates a thousandfold takes no more memory.
      Atomics.wait(flags, slot, 1);
      const piece = bytes.subarray(from, from + slots.size);
      new Uint8Array(slots.bytes, slot * slots.size, piece.length).set(piece);
      Atomics.store(flags, slot, 1);
      say({ type: 'output', slot, length: piece.length });
      slot = (slot + 1) % slots.count;
    }
  };
  port.on('message', (request: GunzipRequest) => {
    try {
      if (request.type === 'begin') {
        stream = new GzipStream({
          ...(request.span === undefined ? {} : { span: request.span }),
          members: request.members,
          onOutput,
        });
      } else if (request.type === 'chunk') {
        stream?.push(request.bytes);
        say({ type: 'taken' });
      } else if (stream !== undefined) {
        say({ type: 'end', summary: stream.finish() });
        stream = undefined;
      }
    } catch (error) {
      stream = undefined;
      say({ type: 'error', error: toPlain(error) });
    }
  });
}
