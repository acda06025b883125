import { readFile, realpath } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { buildElf, buildLibraryCache } from '../../formats/elf/testing/elf-builder.ts';
import { openImage } from '../../reader/accelerated-image.ts';
import { type ImageFiles, openFiles } from '../../reader/files.ts';
import { convertWithin, request, type TestLayout, testLayout } from '../../tests/support/converter.ts';
import { describeWith, run } from '../../tests/support/tools.ts';
import { findStartupFiles } from './startup.ts';

const LOADER = '/lib64/ld-linux-x86-64.so.2';
const MUSL = '/lib/ld-musl-x86_64.so.1';
const PYTHON = 'usr/lib/python3.11';

function program(needed: readonly string[], more: Parameters<typeof buildElf>[0] = {}): Uint8Array {
  return buildElf({ interpreter: LOADER, needed, ...more });
}

/** Everything that the cases below start. */
function content(): TarBuilder {
  const executable = { mode: 0o755 };
  return (
    new TarBuilder()
      .symlink('bin', 'usr/bin')
      .symlink('lib64', 'usr/lib64')
      .file('usr/lib64/ld-linux-x86-64.so.2', buildElf({}), executable)
      .file('lib/ld-musl-x86_64.so.1', buildElf({}), executable)
      .file('etc/passwd', 'root:x:0:0::/:/bin/sh\n')
      .file('etc/group', 'root:x:0:\n')
      .file('etc/ld.so.cache', buildLibraryCache([{ name: 'libcached.so.1', path: '/opt/cached/libcached.so.1' }]))
      .file('opt/cached/libcached.so.1', buildElf({ needed: ['libdeep.so'], runpath: '$ORIGIN/../deep' }))
      .file('opt/deep/libdeep.so', buildElf({}))
      .file('usr/lib/x86_64-linux-gnu/libc.so.6', buildElf({}))
      // A library of another machine does not fit this program.
      .file('lib/libc.so.6', buildElf({ bits: 32, machine: 3 }))
      .file('env/libenv.so', buildElf({}))
      .file('app/private/libown.so', buildElf({ needed: ['libinherited.so'] }))
      .file('app/private/libinherited.so', buildElf({}))
      .file('usr/bin/app', program(['libcached.so.1', 'libc.so.6', 'libgone.so']), executable)
      .file('usr/bin/rpath', program(['libown.so'], { rpath: '/app/private' }), executable)
      .file('usr/bin/environment', program(['libenv.so']), executable)
      .file('usr/bin/static', buildElf({}), executable)
      .file('usr/bin/musl', buildElf({ interpreter: MUSL, needed: ['libc.musl-x86_64.so.1', 'libown.so'] }), executable)
      .file('etc/ld-musl-x86_64.path', '/app/private\n')
      .file('usr/bin/sh', buildElf({}), executable)
      .file('usr/bin/env', buildElf({}), executable)
      .file('usr/bin/tini', buildElf({}), executable)
      .file('usr/bin/python3.11', buildElf({}), executable)
      .symlink('usr/bin/python3', 'python3.11')
      .file(`${PYTHON}/os.py`, 'x')
      .file(`${PYTHON}/codecs.py`, 'x')
      .file(`${PYTHON}/__pycache__/os.cpython-311.pyc`, 'x')
      .file(`${PYTHON}/encodings/__init__.py`, 'x')
      .file(`${PYTHON}/http/server.py`, 'x')
      .file('srv/main.py', '#!/usr/bin/env -S python3 -u\n', executable)
      .file('srv/start', '#! /bin/sh -e\n', executable)
      .file('srv/config.json', '{}')
      .file('srv/loop', '#!/srv/loop\n', executable)
      .symlink('srv/link', '/usr/bin/app')
  );
}

const APP = ['/usr/bin/app', LOADER, '/etc/ld.so.cache', '/opt/cached/libcached.so.1'];
const APP_LIBRARIES = ['/usr/lib/x86_64-linux-gnu/libc.so.6', '/opt/cached/../deep/libdeep.so'];
const PYTHON_START = [
  `/${PYTHON}/encodings/__init__.py`,
  `/${PYTHON}/codecs.py`,
  `/${PYTHON}/__pycache__/os.cpython-311.pyc`,
];

let layout: TestLayout;
let files: ImageFiles;
beforeAll(async () => {
  layout = await testLayout([{ tar: content().build() }]);
  await convertWithin(layout.target, request());
  files = await openFiles(await openImage(layout.target, 'base_accelerated'));
});
afterAll(() => layout.remove());

async function start(config: Record<string, unknown>): Promise<{ paths: string[]; notes: readonly string[] }> {
  const found = await findStartupFiles(files, { config, rootfs: { type: 'layers', diff_ids: [] } });
  return { paths: found.groups.flatMap(({ paths }) => paths), notes: found.notes };
}

describe('the command of an image', () => {
  it.each([
    ['a program with libraries', ['/usr/bin/app'], [...APP, ...APP_LIBRARIES]],
    ['a name in PATH', ['app'], [...APP.with(0, '/usr/bin/app'), ...APP_LIBRARIES]],
    ['a link to it', ['/srv/link'], [...APP, ...APP_LIBRARIES]],
    ['a static program', ['static'], ['/usr/bin/static']],
    [
      'an rpath, which the library of the program inherits',
      ['rpath'],
      ['/usr/bin/rpath', LOADER, '/etc/ld.so.cache', '/app/private/libown.so', '/app/private/libinherited.so'],
    ],
    ['musl', ['musl'], ['/usr/bin/musl', MUSL, '/app/private/libown.so', '/app/private/libinherited.so']],
    ['a script', ['/srv/start'], ['/srv/start', '/usr/bin/sh']],
    [
      'a script by way of env',
      ['/srv/main.py'],
      ['/srv/main.py', '/usr/bin/env', '/usr/bin/python3.11', ...PYTHON_START],
    ],
    [
      'a shell that gets a command',
      ['/bin/sh', '-c', 'exec A=1 app --flag'],
      ['/usr/bin/sh', ...APP, ...APP_LIBRARIES],
    ],
    ['an init', ['tini', '--', 'static'], ['/usr/bin/tini', '/usr/bin/static']],
    [
      'files among the arguments',
      ['static', 'config.json', '/srv/start'],
      ['/usr/bin/static', '/srv/config.json', '/srv/start'],
    ],
    [
      'a module of Python',
      ['python3', '-m', 'http.server'],
      ['/usr/bin/python3.11', ...PYTHON_START, `/${PYTHON}/http/server.py`],
    ],
  ])('%s', async (_name, command, paths) => {
    expect((await start({ Cmd: command, WorkingDir: '/srv' })).paths).toEqual(paths);
  });

  it('is the entrypoint followed by the command', async () => {
    expect((await start({ Entrypoint: ['tini'], Cmd: ['static'] })).paths).toEqual([
      '/usr/bin/tini',
      '/usr/bin/static',
    ]);
  });

  it('finds libraries by LD_LIBRARY_PATH, and programs by PATH', async () => {
    const config = { Cmd: ['environment'], Env: ['LD_LIBRARY_PATH=/env', 'PATH=/nowhere:/bin'] };
    expect((await start(config)).paths).toContain('/env/libenv.so');
  });

  it('with a user by name reads users and groups', async () => {
    expect((await start({ User: 'www:www', Cmd: ['static'] })).paths.slice(0, 2)).toEqual([
      '/etc/passwd',
      '/etc/group',
    ]);
    expect((await start({ User: '1000:1000', Cmd: ['static'] })).paths).toEqual(['/usr/bin/static']);
  });

  it('reports missing files', async () => {
    expect((await start({ Cmd: ['app'] })).notes).toEqual(['/usr/bin/app needs libgone.so, which is not in the image']);
    expect((await start({ Cmd: ['absent'] })).notes).toEqual(['the program absent is not in the image']);
    expect((await start({})).notes).toEqual(['the image has neither entrypoint nor command']);
  });

  it('that leads in a circle ends', async () => {
    expect((await start({ Cmd: ['/srv/loop'] })).paths).toEqual(['/srv/loop']);
  });
});

describeWith({ tools: ['ldd'] }, "this machine's loader", () => {
  it('loads the same libraries of the same places', async () => {
    const path = await realpath('/bin/sh');
    const { stdout } = await run('ldd', [path]);
    const named = [...stdout.toString().matchAll(/(\/\S+)(?: \(0x)/g)].map((match) => match[1]!);
    const places = await Promise.all([path, ...named].map((name) => realpath(name)));
    const tar = new TarBuilder();
    for (const name of ['bin', 'lib', 'lib64']) {
      const target = await realpath(`/${name}`).catch(() => undefined);
      if (target !== undefined && target !== `/${name}`) tar.symlink(name, target.slice(1));
    }
    for (const place of new Set(places)) tar.file(place.slice(1), await readFile(place), { mode: 0o755 });
    tar.file('etc/ld.so.cache', await readFile('/etc/ld.so.cache'));
    const real = await testLayout([{ tar: tar.build() }]);
    try {
      await convertWithin(real.target, request());
      const opened = await openFiles(await openImage(real.target, 'base_accelerated'));
      const config = { config: { Cmd: [path] }, rootfs: { type: 'layers', diff_ids: [] } };
      const { groups, notes } = await findStartupFiles(opened, config);
      const found = await Promise.all(groups[0]!.paths.map(async (one) => (await opened.stat(one)).path));
      expect(notes).toEqual([]);
      expect(new Set(found)).toEqual(new Set([...places, '/etc/ld.so.cache']));
    } finally {
      await real.remove();
    }
  });
});
