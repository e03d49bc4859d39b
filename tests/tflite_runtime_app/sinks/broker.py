"""A stand-in for an MQTT broker: speaks as much of MQTT 3.1.1 as a client that publishes needs to hear, and keeps what it was told."""

import contextlib
import socket
import struct
import threading
import time


class Broker:
    """Listens on a free port of loopback; `messages` are (topic, payload, retained) in order, `wills` those of lost clients.

    `names` are those of all who came. As the standard demands, the older of two clients of one name is closed; `code` other than 0 refuses.
    """

    def __init__(self, port=0, code=0):
        self._code, self._named = code, {}
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.messages, self.wills, self.users, self.names = [], [], [], []
        self._clients = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)  # closing alone would leave a thread that waits in accept() listening
        self._socket.close()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)  # a thread that waits in recv() keeps the connection, too
            client.close()

    def wait(self, condition, seconds=10):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if condition():
                return True
            time.sleep(0.02)
        return False

    def _accept(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        will = None
        try:
            while True:
                kind, body = packet(client)
                if kind >> 4 == 1:  # CONNECT
                    will = self._connect(client, body)
                    client.sendall(bytes((0x20, 2, 0, self._code)))
                    if self._code:
                        will = None
                        return
                elif kind >> 4 == 3:  # PUBLISH, quality of service 0
                    (length,) = struct.unpack_from(">H", body)
                    self.messages.append((body[2 : 2 + length].decode(), body[2 + length :].decode(), bool(kind & 1)))
                elif kind >> 4 == 12:  # PINGREQ
                    client.sendall(bytes((0xD0, 0)))
                elif kind >> 4 == 14:  # DISCONNECT: no will
                    will = None
                    return
        except (OSError, EOFError):
            return
        finally:
            if will:
                self.wills.append(will)
            client.close()

    def _connect(self, client, body):
        flags, fields, place = body[7], [], 10
        while place < len(body):
            (length,) = struct.unpack_from(">H", body, place)
            fields.append(body[place + 2 : place + 2 + length].decode())
            place += 2 + length
        name = fields.pop(0)
        older, self._named[name] = self._named.get(name), client
        if older is not None:
            with contextlib.suppress(OSError):
                older.shutdown(socket.SHUT_RDWR)
        self.names.append(name)
        will = (fields.pop(0), fields.pop(0)) if flags & 0x04 else None
        if flags & 0x80:
            self.users.append(tuple(fields))
        return will


def packet(client):
    """The first byte and the body of the next packet."""
    kind, length, shift = receive(client, 1)[0], 0, 0
    while True:
        byte = receive(client, 1)[0]
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return kind, receive(client, length)
        shift += 7


def receive(client, count):
    found = b""
    while len(found) < count:
        part = client.recv(count - len(found))
        if not part:
            raise EOFError
        found += part
    return found
