/** The OpenAPI document, checked by a validator, and the server checked against it by schemathesis. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { conversionJob, type ServiceApp, startServiceApp } from '../../tests/support/service-app.ts';
import { run, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';

const CACHE = process.env.ACCEL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'accel');
/** .ci/run installs both tools there, from PyPI. */
const TOOLS = join(CACHE, 'tools/schemathesis-4.32.5/bin');
const missing = !existsSync(join(TOOLS, 'schemathesis'));

/** Not checked: that whatever fits the schemas is accepted; a reference has more rules than a schema can say. */
const NOT_CHECKED = 'positive_data_acceptance';

describe.skipIf(missing && process.env.CI === undefined)('the OpenAPI document', () => {
  let app: ServiceApp;
  let folder: TempDirectory;
  let document: string;
  beforeAll(async () => {
    app = await startServiceApp({
      files: { write: 'write-token-1', harbor: 'Bearer write-token-1' },
      config: {
        service: {
          // Without the rights of loopback: a request without a token has to be refused.
          listen: '0.0.0.0:8686',
          tokens: [{ name: 'ci', file: '$FOLDER/write', scope: 'write' }],
          hooks: { harbor: { authorizationFile: '$FOLDER/harbor' } },
        },
      },
    });
    await app.queue.add(['1', '2'].map((tag) => conversionJob(tag)));
    folder = await tempDirectory();
    document = join(folder.path, 'openapi.json');
    await writeFile(document, await (await fetch(`${app.url}/openapi.json`)).text());
  });
  afterAll(async () => {
    await app.stop();
    await folder.remove();
  });

  it('is valid OpenAPI 3.1', async () => {
    const { stdout } = await run(join(TOOLS, 'openapi-spec-validator'), ['--schema', '3.1', document]);
    expect(stdout.toString()).toContain('OK');
  });

  it('is what the server does, by requests of schemathesis', async () => {
    const { stdout, exitCode } = await run(
      join(TOOLS, 'schemathesis'),
      [
        ...['run', document, '--url', app.url, '--header', 'Authorization: Bearer write-token-1', '--seed', '1'],
        ...[
          '--exclude-checks',
          NOT_CHECKED,
          '--exclude-path-regex',
          '/events$',
          '--max-examples',
          '20',
          '--phases',
          'examples,coverage,fuzzing',
        ],
        ...['--request-timeout', '10', '--no-color'],
      ],
      { accept: 'any', cwd: folder.path },
    );
    expect(exitCode === 0 ? '' : stdout.toString()).toBe('');
  });
});
