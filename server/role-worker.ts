/**
 * The program of a worker process: loads the role, waits for its holder to say `start`, and serves on the holder's sockets.
 * It ends when the holder says so or is gone; signals are the holder's business.
 */
import { EventEmitter } from 'node:events';
import { asAccelError } from '../base/error.ts';
import { type HolderMessage, parseSockets, SOCKETS_VARIABLE, type WorkerMessage } from './handover/handover.ts';
import { SIGN_EVERY } from './handover/signs-of-life.ts';
import { loadRole, run } from './main.ts';

/** Milliseconds after which a worker ends whose error is known. */
const LAST_WORDS = 1_000;

const [role = '', config = ''] = process.argv.slice(2);
const signals = new EventEmitter();
const freezers: { readonly freeze: () => Promise<void>; readonly thaw: () => void }[] = [];

const say = (message: WorkerMessage): Promise<void> =>
  new Promise((resolve) => {
    if (process.connected) process.send!(message, undefined, {}, () => resolve());
    else resolve();
  });

/** Says that this process turns; not again while a holder that is stopped does not read. */
function showLife(): void {
  let unread = false;
  setInterval(() => {
    if (unread) return;
    unread = true;
    void say({ kind: 'alive' }).then(() => {
      unread = false;
    });
  }, SIGN_EVERY).unref();
}

type Start = Extract<HolderMessage, { readonly kind: 'start' }>;

const started = new Promise<Start>((resolve) => {
  process.on('message', (message: HolderMessage) => {
    switch (message.kind) {
      case 'start':
        return resolve(message);
      case 'freeze':
        return void Promise.allSettled(freezers.map(({ freeze }) => freeze())).then(() => say({ kind: 'frozen' }));
      case 'thaw':
        for (const { thaw } of freezers) thaw();
        return;
      case 'drain':
        return void signals.emit('SIGTERM', 'SIGTERM');
    }
  });
});
// An init system signals all processes of a service at once: the holder passes it on in its time.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => {
  // A worker that waits has nothing to finish.
  if (signals.listenerCount('SIGTERM') === 0) process.exit(0);
  signals.emit('SIGTERM', 'SIGTERM');
});

try {
  await loadRole(role);
  await say({ kind: 'loaded' });
  showLife();
  const { restarts, kept } = await started;
  await run(
    { role, config, check: false },
    {
      stderr: process.stderr,
      signals,
      handover: {
        sockets: parseSockets(process.env[SOCKETS_VARIABLE] ?? ''),
        restarts,
        kept,
        keep: (text) => void say({ kind: 'keep', text }),
        onFreeze: (freeze, thaw) => void freezers.push({ freeze, thaw }),
      },
      onServing: () => void say({ kind: 'serving' }),
    },
  );
  process.exit(0);
} catch (error) {
  const { code, message, details } = asAccelError(error);
  const { cause: _, ...plain } = details;
  setTimeout(() => process.exit(1), LAST_WORDS).unref();
  await say({ kind: 'failed', code, message, details: plain });
  process.exit(1);
}
