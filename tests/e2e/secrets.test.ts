/** Where a password goes: to its registry, and nowhere else that anyone can look. */
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type ScriptedServer, startScripted } from '../../oci/registry/testing/scripted-server.ts';
import { type AccelRun, accel } from '../support/accel.ts';
import { withTempDirectory } from '../support/tools.ts';

const SECRET = 'hunter2-s3cret/+=';
const TOKEN = 'token-that-was-bought-with-it';
const BASIC = Buffer.from(`ci:${SECRET}`).toString('base64');
const ALL = [SECRET, TOKEN, BASIC, encodeURIComponent(SECRET)];

let server: ScriptedServer | undefined;
afterEach(() => server?.stop());

/** A registry that gives a token for the right password, refuses everything, and repeats what it received. */
async function refusing(): Promise<string> {
  server = await startScripted(({ url, headers }) => {
    if (url.startsWith('/token')) {
      const isRight = headers.authorization === `Basic ${BASIC}`;
      return isRight ? { body: JSON.stringify({ token: TOKEN }) } : { status: 401, body: 'who are you?' };
    }
    if (headers.authorization === undefined) {
      const challenge = `Bearer realm="http://${headers.host}/token",service="s"`;
      return { status: 401, headers: { 'www-authenticate': challenge } };
    }
    const errors = [{ code: 'DENIED', message: `you sent ${headers.authorization} for ${SECRET}` }];
    return { status: 403, body: JSON.stringify({ errors }) };
  });
  return server.host;
}

function expectSecretsKept({ stdout, stderr }: AccelRun): void {
  for (const secret of ALL) {
    expect(stdout).not.toContain(secret);
    expect(stderr).not.toContain(secret);
  }
}

const args = (host: string, ...more: string[]) => ['convert', '-r', `${host}/app`, '-i', '1', '--plain', ...more];

describe('a registry that repeats the password in its refusal', () => {
  test.each(['--verbose', '--json', '--quiet'])('%s does not print it', async (flag) => {
    const host = await refusing();
    const result = await accel(args(host, '-u', 'ci', '--password-stdin', flag), { input: `${SECRET}\n` });
    expect(result.exitCode).toBe(4);
    expect(result.stderr).toContain('DENIED');
    expectSecretsKept(result);
  });
});

test('a credential helper is asked by standard input; nothing is in its arguments', async () => {
  await withTempDirectory(async (directory) => {
    const host = await refusing();
    const seen = join(directory, 'seen');
    const helper = join(directory, 'docker-credential-probe');
    const script = `#!/bin/sh
      { echo "args: $*"; tr '\\0' ' ' < /proc/$PPID/cmdline; echo; cat; env; } > '${seen}'
      printf '{"Username":"ci","Secret":"${SECRET}"}'`;
    await writeFile(helper, script);
    await chmod(helper, 0o755);
    await writeFile(join(directory, 'config.json'), JSON.stringify({ credHelpers: { [host]: 'probe' } }));
    const env = { DOCKER_CONFIG: directory, PATH: `${directory}:${process.env.PATH}` };
    const result = await accel(args(host, '--verbose'), { env });
    expect(result.exitCode).toBe(4);
    expectSecretsKept(result);
    const told = await readFile(seen, 'utf8');
    expect(told).toContain('args: get\n');
    expect(told).toContain(`\n${host}\n`);
    for (const secret of ALL) expect(told).not.toContain(secret);
    expect(server!.seen.some(({ headers }) => headers.authorization === `Bearer ${TOKEN}`)).toBe(true);
  });
});
