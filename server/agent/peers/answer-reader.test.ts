/** Answers of other agents, as a connection may cut them, and those that no agent sends. */
import { describe, expect, it } from 'vitest';
import { AnswerReader, MalformedAnswer } from './answer-reader.ts';

const PROCESSING = 'HTTP/1.1 102 Processing\r\n\r\n';
const head = (...lines: string[]) => `${['HTTP/1.1 200 OK', ...lines].join('\r\n')}\r\n\r\n`;

/** Reads a text in parts of this many bytes: what came of it, and how often there was a sign of life. */
function read(text: string, size = text.length, limit = 10) {
  let alive = 0;
  const reader = new AnswerReader(limit, () => {
    alive += 1;
  });
  for (let at = 0; at < text.length; at += size) {
    const got = reader.take(Buffer.from(text.slice(at, at + size), 'latin1'));
    if (got !== undefined) {
      const { answer, reusable } = got;
      const { status, headers } = answer;
      return { status, headers: { ...headers }, body: answer.body.toString('latin1'), reusable, alive };
    }
  }
  return undefined;
}

describe('an answer', () => {
  const text = `${PROCESSING + PROCESSING + head('Content-Length: 5', 'X-Accel-Attest:  a.b ')}bytes`;

  it.each([1, 2, 7, 40, 1000])('is the same in parts of %i bytes', (size) => {
    expect(read(text, size)).toMatchObject({
      status: 200,
      headers: { 'content-length': '5', 'x-accel-attest': 'a.b' },
      body: 'bytes',
      reusable: true,
    });
  });

  it('shows life with each 102 and each part of the body, not with parts of a head', () => {
    expect(read(PROCESSING.repeat(3) + head('Content-Length: 2'), 5)).toBeUndefined();
    expect(read(`${PROCESSING.repeat(3)}${head('Content-Length: 2')}ab`)?.alive).toBe(5);
    const reader = new AnswerReader(10, () => expect.unreachable());
    for (const byte of 'HTTP/1.1 200 OK\r\nx-a: 1\r\n') reader.take(Buffer.from(byte));
  });

  it('without a body is whole with its head', () => {
    expect(read('HTTP/1.1 204 No Content\r\n\r\n')).toMatchObject({ status: 204, body: '', reusable: true });
    expect(read('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n')).toMatchObject({ status: 404, reusable: true });
  });

  it('that closes its connection, or is no piece and has no known length, leaves no connection to use', () => {
    expect(read(`${head('Connection: close', 'content-length: 1')}a`)).toMatchObject({ body: 'a', reusable: false });
    expect(read('HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\n')).toMatchObject({
      status: 500,
      reusable: false,
    });
  });
});

describe('is refused', () => {
  it.each([
    ['more than was announced', `${head('content-length: 2')}abc`],
    ['more than the limit', head('content-length: 11')],
    ['a piece without a length', head('x: y')],
    ['a piece with a coding', head('content-length: 5', 'transfer-encoding: chunked')],
    ['a length that is no number', head('content-length: 1e1')],
    ['two lengths', head('content-length: 1', 'content-length: 1')],
    ['a line without a name', head(' folded')],
    ['another protocol', 'SSH-2.0-x\r\n\r\n'],
    ['another version', 'HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['a head without an end', `HTTP/1.1 200 OK\r\nx: ${'a'.repeat(33_000)}`],
  ])('%s', (_, text) => {
    expect(() => read(text)).toThrow(MalformedAnswer);
    expect(() => read(text, 100)).toThrow(MalformedAnswer);
  });
});
