import { describe, expect, it } from 'vitest';
import { AccelError } from '../base/error.ts';
import { VERSION } from '../base/version.ts';
import { runProgram } from './program.ts';
import { createServerAccess, type ServerSurroundings } from './server-package.ts';
import { idleSurroundings } from './testing/idle-surroundings.ts';

const LOCAL = 'file:///home/me/app/node_modules/accel-image/dist/program/main.js';

function absent(): never {
  throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
}

interface Installed {
  readonly version: string;
  run(request: unknown): Promise<void>;
}

/** Runs `accel` with the given Node and package. */
async function accel(
  args: readonly string[],
  { installed, ...changes }: Partial<ServerSurroundings> & { readonly installed?: Installed } = {},
) {
  const out: string[] = [];
  const err: string[] = [];
  const stderr = { write: (text: string) => err.push(text) };
  let released = 0;
  const server = createServerAccess({
    node: '24.1.0',
    program: LOCAL,
    resolve: installed === undefined ? absent : () => 'file:///somewhere/main.js',
    load: installed === undefined ? () => Promise.reject(absent()) : () => Promise.resolve(installed),
    stderr,
    signals: process,
    releaseSignals: () => released++,
    ...changes,
  });
  const code = await runProgram(args, {
    ...idleSurroundings(),
    stdout: { write: (text: string) => out.push(text) },
    stderr,
    server,
  });
  return { code, out: out.join(''), err: err.join(''), released };
}

const CALLS = [
  ['serve', '--help'],
  ['help', 'serve'],
  ['serve'],
  ['serve', '-c', 'accel.yaml'],
  ['serve', 'check', 'r.io/app', '-c', 'accel.yaml'],
  ['agent', '--help'],
  ['agent', 'run', '--help'],
  ['agent', 'run', '-c', 'accel.yaml', '--check'],
] as const;

describe.each(CALLS.map((args) => [args.join(' '), args] as const))('accel %s', (_, args) => {
  it('says how to install the package', async () => {
    const { code, out, err } = await accel(args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(`  npm install accel-image-server@${VERSION}\n`);
    expect(err).not.toContain('Node 24');
  });

  it('says it for all projects where accel is installed for all', async () => {
    for (const prefix of ['/usr/local/lib', '/C:/Users/me/AppData/Roaming/npm']) {
      const { err } = await accel(args, { program: `file://${prefix}/node_modules/accel-image/dist/program/main.js` });
      expect(err).toContain(`  npm install --global accel-image-server@${VERSION}\n`);
    }
  });

  it('says which Node it needs', async () => {
    const installed = { version: VERSION, run: () => Promise.resolve() };
    const { code, out, err, released } = await accel(args, { installed, node: '22.12.0' });
    expect([code, out, released]).toEqual([2, '', 0]);
    expect(err).toMatch(/needs Node 24 or newer\n.*expected {2}Node 24 or newer\n.*found {5}Node 22\.12\.0\n/);
  });

  it('says both where both are missing', async () => {
    const { code, err } = await accel(args, { node: '20.19.0' });
    expect(code).toBe(2);
    expect(err).toContain('npm install accel-image-server');
    expect(err).toContain('Node 24 or newer');
  });
});

describe('with the package', () => {
  const requests: unknown[] = [];
  const installed: Installed = { version: VERSION, run: async (request) => void requests.push(request) };

  it.each([
    [['serve', '--help'], /Usage: accel serve /],
    [['agent', '--help'], /Usage: accel agent /],
    [['agent', 'run', '--help'], /Usage: accel agent run /],
  ])('%j prints help', async (args, usage) => {
    const { code, out, err } = await accel(args, { installed });
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(usage);
  });

  it.each<[string[], object]>([
    [['serve', '-c', 'a.yaml'], { role: 'service', config: 'a.yaml', check: false }],
    [['serve', '--config', 'a.yaml', '--check', '--role', 'worker'], { role: 'worker', config: 'a.yaml', check: true }],
    [['agent', 'run', '-c', 'a.yaml'], { role: 'agent', config: 'a.yaml', check: false }],
  ])('%j runs the role, which handles signals from then on', async (args, request) => {
    requests.length = 0;
    expect(await accel(args, { installed })).toEqual({ code: 0, out: '', err: '', released: 1 });
    expect(requests).toEqual([request]);
  });

  it('asks for a configuration', async () => {
    const { code, err } = await accel(['serve'], { installed });
    expect(code).toBe(2);
    expect(err).toContain('needs a configuration file');
  });

  it('refuses another version', async () => {
    const { code, err } = await accel(['serve', '-c', 'a.yaml'], { installed: { ...installed, version: '9.9.9' } });
    expect(code).toBe(2);
    expect(err).toContain(`expected  ${VERSION}`);
    expect(err).toContain('found     9.9.9');
  });

  it("reports the package's own errors as accel's, with their exit code", async () => {
    class OtherCopy extends Error {
      override readonly name = 'AccelError';
      readonly code = 'unauthorized';
      readonly details = { where: { file: 'a.yaml', line: 3 }, hint: 'Log in.' };
    }
    const failing = { version: VERSION, run: () => Promise.reject(new OtherCopy('not yours')) };
    expect(new OtherCopy('')).not.toBeInstanceOf(AccelError);
    const { code, err } = await accel(['serve', '-c', 'a.yaml'], { installed: failing });
    expect(code).toBe(4);
    expect(err).toMatch(/\[unauthorized\] not yours\n.*file +a\.yaml\n.*line +3\n.*Log in\./);
  });
});
