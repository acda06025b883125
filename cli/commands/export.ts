/** `accel export`: the block device of an accelerated image for programs that know nothing of accelerated images. */
import { Command, Option } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { NbdAddress, NbdEvent } from '../../reader/nbd/nbd-server.ts';
import type { CommandContext } from '../context.ts';
import { formatBytes } from '../format.ts';
import { parseAddress } from '../parse-values.ts';
import { createBytesLine } from '../progress/bytes-line.ts';
import { addReadingFlags, type ReadingFlags, withFiles } from '../reading.ts';
import { printable } from '../text.ts';

interface NbdFlags extends ReadingFlags {
  readonly listen?: { readonly host: string; readonly port: number };
  readonly socket?: string;
}

const EXAMPLES = `
Examples:
  $ accel export nbd registry.example.com/team/app:1.2_accelerated
  $ accel export raw registry.example.com/team/app:1.2_accelerated app.img
`;

const NBD_EXAMPLES = `
Examples:
  Serve, and mount it from another terminal (nbdfuse is in Debian's libnbd-bin):
    $ accel export nbd --socket /tmp/app.sock registry.example.com/team/app:1.2_accelerated
    $ nbdfuse --readonly ~/app 'nbd+unix:///?socket=/tmp/app.sock' &
    $ sudo mount -o loop,ro,noload ~/app/nbd /mnt
  Any client will do:
    $ nbdinfo nbd://127.0.0.1:10809
    $ qemu-img convert -O qcow2 nbd://127.0.0.1:10809 app.qcow2
`;

const RAW_EXAMPLES = `
Examples:
  $ accel export raw registry.example.com/team/app:1.2_accelerated app.img
  $ accel export raw oci:./layout:latest_accelerated app.img && sudo mount -o loop,ro,noload app.img /mnt
`;

/** The address that NBD clients try by default. */
const DEFAULT_ADDRESS = { host: '127.0.0.1', port: 10809 };
const REFERENCE = 'accelerated image, HOST/NAME:TAG or oci:DIR:TAG';

/** Declares the command. */
export function exportCommand(context: CommandContext): Command {
  return new Command('export')
    .summary('hand out the block device of an accelerated image')
    .description('Makes the block device of an accelerated image, an ext4 file system, available to other programs.')
    .addCommand(nbdCommand(context))
    .addCommand(rawCommand(context))
    .addHelpText('after', EXAMPLES);
}

function nbdCommand(context: CommandContext): Command {
  const command = new Command('nbd')
    .summary('serve the block device over NBD')
    .description(
      'Serves the block device of an accelerated image over NBD, read-only, until it is interrupted. Only what clients ' +
        'read is fetched. The address is printed as an NBD URI. There is no access control: whoever reaches the address ' +
        'may read the image.',
    )
    .argument('<ref>', REFERENCE)
    .addOption(
      new Option('--listen <host:port>', '127.0.0.1:10809 unless given; port 0 takes a free one').argParser(
        parseAddress,
      ),
    )
    .addOption(new Option('--socket <path>', 'a Unix socket instead, for this user alone').conflicts('listen'));
  addReadingFlags(command);
  return command
    .addHelpText('after', NBD_EXAMPLES)
    .action((reference: string, flags: NbdFlags) => runNbd(reference, flags, context));
}

function rawCommand(context: CommandContext): Command {
  const command = new Command('raw')
    .summary('write the block device to a file')
    .description(
      'Writes the block device of an accelerated image to a sparse file: as large as the device by name, as large as ' +
        'the content on disk. The file appears when it is complete and replaces one that is there.',
    )
    .argument('<ref>', REFERENCE)
    .argument('<file>', 'file to write');
  addReadingFlags(command);
  return command
    .addHelpText('after', RAW_EXAMPLES)
    .action((reference: string, file: string, flags: ReadingFlags) => runRaw(reference, file, flags, context));
}

async function runNbd(reference: string, flags: NbdFlags, context: CommandContext): Promise<void> {
  const { signal, stderr, stdout } = context;
  const address: NbdAddress = flags.socket === undefined ? (flags.listen ?? DEFAULT_ADDRESS) : { socket: flags.socket };
  if (flags.socket === '') throw new AccelError('usage', '--socket needs a path');
  await withFiles(reference, flags, context, async (image) => {
    const { serveNbd } = await import('../../reader/nbd/nbd-server.ts');
    const server = await serveNbd(image.device, {
      address,
      description: reference,
      onEvent: (event) => {
        const line = renderEvent(event, flags.verbose === true);
        if (line !== undefined) stderr.write(`${line}\n`);
      },
    });
    stdout.write(`${server.uri}\n`);
    if (flags.quiet !== true)
      stderr.write(`serving ${formatBytes(image.device.size)} of ${printable(reference)}; interrupt to end\n`);
    await interrupted(signal);
    await server.close();
  });
}

/** For a server the interrupt is the ordinary end. */
function interrupted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function renderEvent(event: NbdEvent, verbose: boolean): string | undefined {
  const client = `client ${event.client}`;
  switch (event.type) {
    case 'read-failed': {
      const where = Object.entries(event.error.where).map(([key, value]) => `${key} ${value}`);
      const what = [`[${event.error.code}] ${event.error.message}`, ...where].join(', ');
      return printable(`${client}: reading ${event.length} bytes at ${event.offset} failed: ${what}`);
    }
    case 'client-failed':
      return verbose ? printable(`${client}: ${event.error.message}`) : undefined;
    case 'connected':
    case 'disconnected':
      return verbose ? `${client}: ${event.type}` : undefined;
  }
}

async function runRaw(reference: string, file: string, flags: ReadingFlags, context: CommandContext): Promise<void> {
  const { signal, stderr, env } = context;
  await withFiles(reference, flags, context, async (image) => {
    const { exportRaw } = await import('../../reader/raw.ts');
    const line = createBytesLine(stderr, env, flags.quiet === true);
    try {
      const { size, written } = await exportRaw(image.device, file, { signal, onProgress: line.show });
      line.clear();
      if (flags.quiet !== true)
        stderr.write(`wrote ${formatBytes(written)}, and holes up to ${formatBytes(size)}, to ${printable(file)}\n`);
    } finally {
      line.clear();
    }
  });
}
