/// What a virtual machine gets as a disk.
public enum MachineDiskSource: Sendable, Hashable {
  /// A block device of the machine's host.
  case device(path: String, isReadOnly: Bool)
  /// The socket of a program that plays the disk (vhost-user-blk). It reads and writes the machine's memory, so that has to
  /// be shared: `-object memory-backend-memfd,share=on`.
  case vhostUser(socket: String)
}

extension VirtualMachine {
  /// Plugs a disk into a spare port; one that is plugged already under this id is left alone.
  ///
  /// - Parameter id: at most 24 bytes: what is behind the disk is named after it, and QEMU's names of that hold 31.
  /// - Throws: what the monitor throws. Nothing is left of a disk that was not plugged.
  public mutating func plugDisk(_ source: MachineDiskSource, as id: String, into port: String) throws {
    guard try !has(id) else { return }
    // What is left of one that was unplugged while nobody waited for it.
    forgetSource(of: id)
    do {
      switch source {
      case .device(let path, let isReadOnly):
        try monitor.execute(
          "blockdev-add",
          [
            "driver": .string("host_device"), "node-name": .string(Self.sourceName(id)), "filename": .string(path),
            "read-only": .bool(isReadOnly), "cache": .object(["direct": .bool(true), "no-flush": .bool(false)]),
            "discard": .string("unmap"),
          ])
        try monitor.execute(
          "device_add",
          [
            "driver": .string("virtio-blk-pci"), "id": .string(id), "bus": .string(port),
            "drive": .string(Self.sourceName(id)),
          ])
      case .vhostUser(let socket):
        let address: JSONValue = .object([
          "type": .string("unix"), "data": .object(["path": .string(socket)]),
        ])
        try monitor.execute(
          "chardev-add",
          [
            "id": .string(Self.sourceName(id)),
            "backend": .object([
              "type": .string("socket"), "data": .object(["addr": address, "server": .bool(false)]),
            ]),
          ])
        try monitor.execute(
          "device_add",
          [
            "driver": .string("vhost-user-blk-pci"), "id": .string(id), "bus": .string(port),
            "chardev": .string(Self.sourceName(id)),
          ])
      }
    } catch {
      forgetSource(of: id)
      throw error
    }
  }

  /// As `unplug`, with what is behind the disk.
  public mutating func unplugDisk(_ id: String, patience: Duration) throws {
    try unplug(id, patience: patience)
    forgetSource(of: id)
  }

  private static func sourceName(_ id: String) -> String { id + "-source" }

  /// One of the two is not there, or neither; what a device uses stays.
  private mutating func forgetSource(of id: String) {
    _ = try? monitor.execute("blockdev-del", ["node-name": .string(Self.sourceName(id))])
    _ = try? monitor.execute("chardev-remove", ["id": .string(Self.sourceName(id))])
  }
}
