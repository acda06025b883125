import { describe, expect, it } from 'vitest';
import { parseSeenPaths } from './seen.ts';

const seen = (text: string, directory = '/srv') => parseSeenPaths(Buffer.from(text), directory).paths;

describe('what strace wrote', () => {
  it.each([
    ['open', 'open("/etc/passwd", O_RDONLY) = 3', ['/etc/passwd']],
    ['openat', 'openat(AT_FDCWD, "/lib/libc.so.6", O_RDONLY|O_CLOEXEC) = 3', ['/lib/libc.so.6']],
    ['openat2', 'openat2(AT_FDCWD, "/a", {flags=O_RDONLY, resolve=0}, 24) = 3', ['/a']],
    ['execve', 'execve("/usr/bin/app", ["app", "-x"], 0x7ffd /* 9 vars */) = 0', ['/usr/bin/app']],
    ['a failure', 'openat(AT_FDCWD, "/absent", O_RDONLY) = -1 ENOENT (No such file or directory)', []],
    ['another call', 'stat("/etc/passwd", {st_mode=S_IFREG|0644, st_size=1}) = 0', []],
    ['a process by -f', '[pid  4242] open("/a", O_RDONLY) = 3', ['/a']],
    ['a process by -f -o', '4242  open("/a", O_RDONLY) = 3', ['/a']],
    ['a time by -t', '12:00:01 open("/a", O_RDONLY) = 3', ['/a']],
    ['a process and a time', '4242 12:00:01.123456 open("/a", O_RDONLY) = 3', ['/a']],
    ['a relative path', 'open("lib/a.py", O_RDONLY) = 3', ['/srv/lib/a.py']],
    ['a relative path by -y', 'openat(AT_FDCWD</srv>, "a.py", O_RDONLY) = 3', ['/srv/a.py']],
    ['a directory by -y', 'openat(5</srv/lib>, "a.py", O_RDONLY) = 6', ['/srv/lib/a.py']],
    ['an unknown directory', 'openat(5, "a.py", O_RDONLY) = 6', []],
    ['what was opened by -y', 'openat(AT_FDCWD, "x", O_RDONLY) = 3</usr/lib/x.so.1>', ['/usr/lib/x.so.1']],
    ['escapes', 'open("/a\\"b\\\\c\\n\\351\\x41", O_RDONLY) = 3', ['/a"b\\c\n\xe9A']],
    ['a path that was cut short', 'open("/very/long"..., O_RDONLY) = 3', []],
    ['a parenthesis and an equals sign', 'open("/a) = 1", O_RDONLY) = 3', ['/a) = 1']],
    ['an exit', '+++ exited with 0 +++', []],
    ['a signal', '--- SIGCHLD {si_signo=SIGCHLD} ---', []],
  ])('%s', (_name, line, paths) => expect(seen(line)).toEqual(paths));

  it('takes calls together that others interrupted', () => {
    const text = [
      '11 openat(AT_FDCWD, "/first", O_RDONLY <unfinished ...>',
      '12 openat(AT_FDCWD, "/second", O_RDONLY) = 3',
      '11 <... openat resumed>) = 3',
      '13 <... openat resumed>) = 3',
    ];
    expect(seen(text.join('\n'))).toEqual(['/second', '/first']);
  });

  it('follows each process into its directory', () => {
    const text = [
      '7 chdir("/opt") = 0',
      '7 chdir("app") = 0',
      '7 open("a", O_RDONLY) = 3',
      '8 open("a", O_RDONLY) = 3',
    ];
    expect(seen(text.join('\n'))).toEqual(['/opt/app/a', '/srv/a']);
  });
});

describe('other lines', () => {
  it.each([
    ['fatrace', 'cat(4242): RO /etc/passwd', ['/etc/passwd']],
    ['fatrace with a time', '12:00:01.123456 my app(1): O /a b', ['/a b']],
    ['a path', '/usr/bin/app', ['/usr/bin/app']],
    ['a comment', '# /usr/bin/app', []],
  ])('%s', (_name, line, paths) => expect(seen(line)).toEqual(paths));

  it('each path appears once, in the order of its first appearance; other lines are counted', () => {
    const found = parseSeenPaths(Buffer.from('/b\n/a\nnonsense\n/b\r\n'), '/');
    expect(found).toEqual({ paths: ['/b', '/a'], others: 1 });
  });
});
