import { afterEach, describe, expect, test } from 'vitest';
import { Throttle } from '../http/throttle.ts';
import { type Script, type ScriptedServer, startScripted } from '../oci/registry/testing/scripted-server.ts';
import { parseDuration, parseRate } from './parse-values.ts';
import { runProgram } from './program.ts';
import { registryChoice, targetChoice } from './registry-flags.ts';
import { captured } from './testing/sample.ts';

let server: ScriptedServer | undefined;
afterEach(() => server?.stop());

/** Runs a command; `HOST` in it is the server's. */
async function run(line: string, script: Script, env: Record<string, string> = {}) {
  server = await startScripted(script);
  const { host } = server;
  const [stdout, stderr] = [captured(), captured()];
  const exitCode = await runProgram(line.replaceAll('HOST', host).split(' '), {
    stdout,
    stderr,
    stdin: (async function* () {})(),
    env: { HOME: '/nonexistent', ...env },
    signal: new AbortController().signal,
    loadConverter: () => import('../index.ts'),
  });
  return { exitCode, host, stdout: stdout.text, stderr: stderr.text };
}

const missing = { status: 404, headers: { 'x-request-id': 'req-0815' }, body: '{"errors":[{"code":"NAME_UNKNOWN"}]}' };

describe('--http-trace', () => {
  test('names every request with its status, bytes, time and id; secrets and queries are not in it', async () => {
    const { stderr, host } = await run(
      'inspect HOST/app:1 --plain -u ann:trace-Secret --http-trace',
      ({ url, headers }) => {
        if (url.startsWith('/token')) return { body: '{"token":"bought-token"}' };
        if (headers.authorization !== undefined) return missing;
        const realm = `Bearer realm="http://${headers.host}/token?path=trace-Secret",service="s"`;
        return { status: 401, headers: { 'www-authenticate': realm } };
      },
    );
    const lines = stderr.split('\n').filter((text) => text.startsWith('http '));
    expect(lines[0]).toMatch(
      new RegExp(`^http (?:HEAD|GET) http://${host}/v2/app/manifests/1, 401, received 0 B, \\d+ ms$`),
    );
    expect(lines[1]).toMatch(new RegExp(`^http GET http://${host}/token\\?…, 200, received 24 B, \\d+ ms$`));
    expect(lines[2]).toMatch(/, 404, received \d+ B, \d+ ms, id req-0815$/);
    expect(stderr.toLowerCase()).not.toContain('trace-secret');
    expect(stderr).not.toContain('bought-token');
  });

  test('counts tries', async () => {
    const { stderr } = await run('inspect HOST/app:1 --plain --http-trace', (_, seen) =>
      seen.length === 1 ? { status: 502 } : missing,
    );
    expect(stderr).toMatch(/, 502, received 0 B, \d+ ms\n/);
    expect(stderr).toMatch(/, 404, received \d+ B, \d+ ms, try 2, id req-0815\n/);
  });
});

describe('a registry that asks to wait', () => {
  const busy = (status: number, seconds: string) => ({
    status,
    headers: { 'retry-after': seconds },
    body: '{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}',
  });

  test.each([429, 503])('HTTP %i: longer than the limit ends the run, with the time and what to do', async (status) => {
    const { exitCode, stderr, host } = await run('inspect HOST/app:1 --plain', () => busy(status, '21600'));
    expect(exitCode).toBe(1);
    expect(stderr).toContain(host);
    expect(stderr).toMatch(/until +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/);
    expect(stderr).toContain('TOOMANYREQUESTS: pull rate limit, with Retry-After 6 h');
    expect(stderr).toContain('--max-wait');
    expect(server!.seen.length).toBeLessThanOrEqual(2);
  });

  test('within the limit the wait is reported at once, and the run goes on', async () => {
    const { exitCode, stderr, host } = await run('inspect HOST/app:1 --plain', (_, seen) =>
      seen.length === 1 ? busy(429, '1') : missing,
    );
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`${host} limits the rate of requests (HTTP 429): waiting 1 s, until `);
    expect(stderr).toContain('NAME_UNKNOWN');
  });

  test('a wait within the limit is not called too long where no tries are left', async () => {
    const { exitCode, stderr } = await run('inspect HOST/app:1 --plain --retries 0', () => busy(429, '1'));
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/expected +an answer within the tries of a request/);
    expect(stderr).toContain('allow more tries');
  });

  test('--max-wait 0 waits for nobody', async () => {
    const { exitCode } = await run('inspect HOST/app:1 --plain --max-wait 0', () => busy(429, '1'));
    // A refused HEAD may be followed by the GET that asks for the words.
    expect(exitCode).toBe(1);
    expect(server!.seen.length).toBeLessThanOrEqual(2);
  });

  test('waits add up to the limit', async () => {
    const { exitCode } = await run('inspect HOST/app:1 --plain --max-wait 2s', () => busy(429, '1'));
    // The first try, two more after a second each, and perhaps a GET that asks for the words of a refused HEAD.
    expect(exitCode).toBe(1);
    expect([3, 4]).toContain(server!.seen.length);
  });
});

describe('retries', () => {
  const down = () => ({ status: 503 });

  test.each([
    ['inspect HOST/app:1 --plain --http-trace --retries 1', {}, 2],
    ['inspect HOST/app:1 --plain --http-trace', { ACCEL_RETRIES: '0' }, 1],
  ])('%s with %j', async (line, env, tries) => {
    const { exitCode, stderr } = await run(line, down, env);
    expect(exitCode).toBe(1);
    const counted = [...stderr.matchAll(/, try (\d+)/g)].map(([, count]) => Number(count));
    expect(Math.max(1, ...counted)).toBe(tries);
  });
});

test('--rate-limit and --bandwidth bound the requests and bytes of a whole command', async () => {
  const flags = { rateLimit: 5, bandwidth: 1_048_576 };
  const { throttle } = await registryChoice(flags, (async function* () {})());
  expect(throttle).toBeInstanceOf(Throttle);
  // One object for source and target.
  expect(targetChoice({ throttle: throttle! }, 'a:b')?.throttle).toBe(throttle);
  const { exitCode, stderr } = await run(
    'inspect HOST/app:1 --plain --rate-limit 1000/s --bandwidth 1M',
    () => missing,
  );
  expect([exitCode, stderr]).toEqual([1, expect.stringContaining('NAME_UNKNOWN')]);
});

test('--timeout ends a conversion with exit 1, nothing tagged', async () => {
  const { exitCode, stderr } = await run('convert -r HOST/app -i 1 --plain --timeout 500ms', () => ({ hang: true }));
  expect(exitCode).toBe(1);
  expect(stderr).toContain('[timed-out]');
  expect(stderr).toContain('an end within 0.5 s');
  expect(stderr).toContain('more time with --timeout:');
});

test.each([
  ['HTTPS_PROXY', '::bad'],
  ['https_proxy', 'ftp://proxy'],
  ['HTTP_PROXY', 'http://u:%@proxy'],
])('%s=%s is a usage error that names it', async (name, value) => {
  const { exitCode, stderr } = await run('inspect registry.invalid/app:1', () => missing, { [name]: value });
  expect(exitCode).toBe(2);
  expect(stderr).toContain(`[usage] the environment variable ${name}`);
});

describe('values', () => {
  test.each([
    ['90', 90_000],
    ['90s', 90_000],
    ['500ms', 500],
    ['1.5h', 5_400_000],
    ['10m', 600_000],
    ['10min', 600_000],
    ['1h30m', 5_400_000],
    ['24d', 2_073_600_000],
  ])('%s is a duration', (text, milliseconds) => expect(parseDuration('--timeout')(text)).toBe(milliseconds));

  test.each(['', '0', '-1', 's', '1x', '1h x', '25d', '1e3', 'm10', '1 h'])('%j is no duration', (text) => {
    expect(() => parseDuration('--timeout')(text)).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  test.each([
    ['0', 0],
    ['1K', 1024],
    ['1M', 1_048_576],
  ])('%s is a rate', (text, bytes) => expect(parseRate('--min-rate')(text)).toBe(bytes));
});
