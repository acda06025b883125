import { spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { VERSION } from '../base/version.ts';
import { withTempDirectory } from '../tests/support/tools.ts';
import { run, version } from './main.ts';
import type { RoleStarter } from './role.ts';

const CONFIG = 'telemetry: { listen: "127.0.0.1:0" }\n';

/** A program that runs a role which takes a while to end; written to a file, for a process of its own. */
const PROGRAM = `
import { run } from ${JSON.stringify(new URL('./main.ts', import.meta.url).href)};
const slow = async ({ lifecycle, metrics }) => {
  metrics.counter({ name: 'started_total', help: 'Starts' }).inc();
  lifecycle.onReload(() => process.stderr.write('reloaded\\n'));
  lifecycle.started('slow', async () => {
    process.stderr.write('slow stops\\n');
    await new Promise((resolve) => setImmediate(resolve));
    process.stderr.write('slow has stopped\\n');
  });
  process.stderr.write('running\\n');
};
await run({ role: 'slow', config: process.argv[2], check: false }, { stderr: process.stderr, signals: process, roles: { slow } });
`;

function surroundings(roles?: Record<string, RoleStarter>) {
  const text: string[] = [];
  const signals = new EventEmitter();
  return {
    text,
    signals,
    stderr: { write: (part: string) => text.push(part) },
    ...(roles === undefined ? {} : { roles }),
  };
}

it('runs on the Node that it asks for, with the version of accel', () => {
  expect(Number.parseInt(process.versions.node, 10)).toBeGreaterThanOrEqual(24);
  expect(version).toBe(VERSION);
});

describe('run', () => {
  const withConfig = <T>(text: string, body: (path: string) => Promise<T>): Promise<T> =>
    withTempDirectory(async (folder) => {
      const path = join(folder, 'accel.yaml');
      await writeFile(path, text);
      return body(path);
    });

  it('checks a configuration without starting anything', () =>
    withConfig(CONFIG, async (config) => {
      const around = surroundings();
      await run({ role: 'service', config, check: true }, around);
      expect(around.text).toEqual([
        'accel: warning: no rules are configured: nothing is converted\n',
        `accel: ${config} is valid\n`,
      ]);
      expect(around.signals.eventNames()).toEqual([]);
    }));

  it('refuses a role that this version does not have, and a wrong configuration first', () =>
    withConfig(CONFIG, async (config) => {
      const refusal = { code: 'usage', found: 'constructor' };
      await expect(run({ role: 'constructor', config, check: false }, surroundings())).rejects.toMatchObject(refusal);
      await writeFile(config, 'drian: 5s\n');
      await expect(run({ role: 'constructor', config, check: false }, surroundings())).rejects.toMatchObject({
        message: 'invalid configuration: unknown key "drian"; did you mean "drain"?',
      });
    }));

  it('a role that fails to start takes down what has started', () =>
    withConfig(CONFIG, async (config) => {
      const around = surroundings({ broken: () => Promise.reject(new Error('no peers')) });
      await expect(run({ role: 'broken', config, check: false }, around)).rejects.toThrow('no peers');
      const [, url] = /metrics at (\S+)/.exec(around.text.join(''))!;
      await expect(fetch(url!)).rejects.toThrow();
      expect(around.signals.eventNames()).toEqual([]);
    }));

  it('a process serves metrics, reloads on SIGHUP and drains on SIGTERM', () =>
    withConfig(CONFIG, async (config) => {
      const program = join(config, '../program.mts');
      await writeFile(program, PROGRAM);
      const child = spawn(process.execPath, [program, config], { stdio: ['ignore', 'ignore', 'pipe'] });
      const seen: string[] = [];
      const ended = new Promise<unknown>((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
      for await (const line of createInterface({ input: child.stderr })) {
        seen.push(line);
        if (line === 'running') {
          const [, url] = /metrics at (\S+)/.exec(seen.join('\n'))!;
          expect(await (await fetch(url!)).text()).toContain('accel_started_total 1');
          child.kill('SIGHUP');
        }
        if (line.includes('read again')) child.kill('SIGTERM');
      }
      expect(await ended).toBe(0);
      expect(seen.slice(1)).toEqual([
        'running',
        'reloaded',
        'accel: SIGHUP: configuration read again',
        'accel: SIGTERM: finishing what is in progress; once more to stop at once',
        'slow stops',
        'slow has stopped',
      ]);
    }));
});
