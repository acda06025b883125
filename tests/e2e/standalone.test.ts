/** The standalone executable in a folder that has the libraries of C and nothing else, and its Debian package in a Debian. */
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VERSION } from '../../base/version.ts';
import { renderManPage } from '../../scripts/man-page.ts';
import { toolCache } from '../../scripts/node-of-npm.ts';
import { writeDebianPackage } from '../../scripts/package/debian.ts';
import { preparedProgram, writeExecutable } from '../../scripts/package/executable.ts';
import { packageTexts } from '../../scripts/package/package-texts.ts';
import { bundleStandalone } from '../../scripts/package/standalone-bundle.ts';
import { nodeFor } from '../../scripts/package/targets.ts';
import { convert } from '../support/accel.ts';
import { type TestLayout, testLayout, threadedTar } from '../support/converter.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../support/tools.ts';

const MINUTES = 60_000;
const DEMO = join(import.meta.dirname, '../../fixtures/images/demo');
const BASE = join(toolCache(), 'tools/debian-base-12/rootfs.tar');
const target = process.arch === 'arm64' ? 'linux-arm64' : 'linux-x64';

describe.skipIf(process.platform !== 'linux')('standalone', () => {
  describeWith({ tools: ['chroot', 'ldd', 'dpkg-deb', 'tar'], root: true }, 'executable', () => {
    let scratch: TempDirectory;
    let root: string;
    let executable: string;
    let large: TestLayout;

    beforeAll(async () => {
      scratch = await tempDirectory('accel-standalone-');
      executable = join(scratch.path, 'accel');
      const { program } = await nodeFor(target);
      await writeExecutable(executable, program, preparedProgram(program, await bundleStandalone()));
      root = join(scratch.path, 'root');
      const libraries = (await run('ldd', [executable])).stdout.toString('utf8').match(/\/\S+(?= \(0x)/g) ?? [];
      for (const path of libraries) {
        mkdirSync(dirname(join(root, path)), { recursive: true });
        cpSync(path, join(root, path), { dereference: true });
      }
      for (const folder of ['bin', 'tmp']) mkdirSync(join(root, folder));
      cpSync(executable, join(root, 'bin/accel'));
      cpSync(DEMO, join(root, 'demo'), { recursive: true });
      large = await testLayout([{ tar: threadedTar(1) }]);
      cpSync(large.directory, join(root, 'large'), { recursive: true });
    }, 3 * MINUTES);
    afterAll(() => Promise.all([scratch?.remove(), large?.remove()]));

    async function inside(...args: string[]): Promise<{ stdout: string; stderr: string; exitCode: number | null }> {
      const result = await run('chroot', [root, '/bin/accel', ...args], { accept: 'any' });
      return { ...result, stdout: result.stdout.toString('utf8') };
    }

    it.each([
      ['small layers', 'demo', 'latest'],
      ['a layer that is worth its threads', 'large', 'base'],
    ])('converts %s: the digests of the installed program', async (_, name, tag) => {
      const copy = join(scratch.path, name);
      cpSync(join(root, name), copy, { recursive: true });
      const { stdout, stderr, exitCode } = await inside('convert', '-r', `oci:/${name}`, '-i', tag, '--json');
      expect(exitCode, stderr).toBe(0);
      const expected = await convert(['-r', `oci:${copy}`, '-i', tag]);
      const digests = (tags: typeof expected.tags) => tags.map(({ digest }) => digest);
      expect(digests((JSON.parse(stdout) as typeof expected).tags)).toEqual(digests(expected.tags));
      expect(digests(expected.tags)).toHaveLength(2);
    });

    it('verifies, inspects and reads the result', async () => {
      for (const tag of ['latest_accelerated', 'latest_containerd_accelerated'])
        expect(await inside('verify', `oci:/demo:${tag}`)).toMatchObject({ exitCode: 0 });
      const inspected = await inside('inspect', 'oci:/demo:latest_accelerated', '--json');
      expect(JSON.parse(inspected.stdout)).toMatchObject({ formatVersion: 1 });
      const listed = await inside('ls', 'oci:/demo:latest_accelerated', '/');
      expect(listed.stdout).toContain('etc');
      const read = await inside('cat', 'oci:/demo:latest_accelerated', '/etc/passwd');
      expect(read.exitCode, read.stderr).toBe(0);
      expect(read.stdout).not.toBe('');
    });

    it('says where the roles of the server are', async () => {
      const { stderr, exitCode } = await inside('serve');
      expect(exitCode).toBe(2);
      expect(stderr).toContain(`accel:${VERSION}`);
      expect(stderr).toContain('accel-image-server');
    });

    it(
      'becomes a Debian package that installs, completes, explains itself and goes without a trace',
      async () => {
        if (!existsSync(BASE)) throw new Error(`${BASE} is missing: fixtures/image-base/build.sh`);
        const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
        const file = join(scratch.path, `accel_${VERSION}_${architecture}.deb`);
        writeDebianPackage(
          file,
          executable,
          architecture,
          await packageTexts(await bundleStandalone(), await nodeFor(target)),
        );
        const debian = join(scratch.path, 'debian');
        mkdirSync(debian);
        await run('tar', ['-xf', BASE, '-C', debian]);
        cpSync(file, join(debian, 'accel.deb'));
        await run('chroot', [debian, 'dpkg', '--install', '/accel.deb']);
        const version = await run('chroot', [debian, 'accel', '--version']);
        expect(version.stdout.toString('utf8')).toBe(`${VERSION}\n`);
        const { stdout: paths } = await run('chroot', [debian, 'dpkg', '--listfiles', 'accel']);
        const files = paths
          .toString('utf8')
          .split('\n')
          .filter((path) => /\/accel(\/|\.|$)|_accel$/.test(path));
        expect(files).toEqual(
          expect.arrayContaining([
            '/usr/share/bash-completion/completions/accel',
            '/usr/share/zsh/vendor-completions/_accel',
            '/usr/share/fish/vendor_completions.d/accel.fish',
            '/usr/share/doc/accel/accel.ps1',
            '/usr/share/doc/accel/copyright',
          ]),
        );
        await run('chroot', [debian, 'dpkg', '--purge', 'accel']);
        expect(files.filter((path) => existsSync(join(debian, path)))).toEqual([]);
      },
      2 * MINUTES,
    );
  });
});

describeWith({ tools: ['lintian', 'dpkg-deb'] }, 'the Debian package', () => {
  // In place of the executable, whose 129 MB lintian reads for a minute.
  it('pleases lintian', async () => {
    const scratch = await tempDirectory('accel-lintian-');
    try {
      const file = join(scratch.path, `accel_${VERSION}_amd64.deb`);
      const node = await nodeFor('linux-x64');
      writeDebianPackage(file, '/bin/true', 'amd64', await packageTexts(await bundleStandalone(), node));
      const { stdout } = await run('lintian', ['--allow-root', '--fail-on', 'none', file], {
        env: { TMPDIR: scratch.path },
      });
      // The program of Debian's own build leaves two overrides without use.
      expect(
        stdout
          .toString('utf8')
          .split('\n')
          .filter((line) => /^[EW]:/.test(line)),
      ).toEqual([]);
    } finally {
      await scratch.remove();
    }
  });
});

describeWith({ tools: ['mandoc', 'man'] }, 'the manual page', () => {
  it('pleases mandoc and man', async () => {
    const scratch = await tempDirectory('accel-manual-');
    try {
      const page = join(scratch.path, 'accel.1');
      writeFileSync(page, await renderManPage());
      expect((await run('mandoc', ['-Tlint', '-Wwarning', page], { accept: 'any' })).stdout.toString('utf8')).toBe('');
      const env = { LC_ALL: 'C.UTF-8', MANWIDTH: '100', MAN_KEEP_FORMATTING: undefined };
      const { stdout, stderr } = await run('man', ['--warnings', '--local-file', page], { env });
      expect(stderr).toBe('');
      const text = stdout.toString('utf8');
      for (const word of ['ACCEL CONVERT', '--target-repository', 'ACCEL PREFETCH ADD', 'EXIT STATUS'])
        expect(text).toContain(word);
    } finally {
      await scratch.remove();
    }
  });
});
