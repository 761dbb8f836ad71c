import Configuration
import FunctionPluginKit
import Glibc
import LinuxDevices
import Logging
import Services
import Synchronization
import Testing

@testable import BlockFunctions
@testable import iov_plugin_sata

/// What the machine must have for tests on real devices; nil if it has it all.
let missingOnThisMachine: String? = {
  if geteuid() != 0 { return "root is needed" }
  for device in ["/dev/loop-control", "/dev/fuse"] where access(device, R_OK | W_OK) != 0 {
    return "there is no \(device)"
  }
  for program in [StorageDaemon.program, FileClient.program] where ChildProcess.path(of: program) == nil {
    return "\(program) is not installed"
  }
  return nil
}()

/// A disk of 64 MiB, a loop device over a temporary file, and plugins that share it. Everything goes with it.
final class TestDisk: Sendable {
  let directory: String
  /// What is behind the disk, and where that is if the directory is no place for it.
  private let file: String
  private let medium: String
  let loop: LoopDevice
  let claim: String
  private let known = Mutex<[String: FunctionRequest]>([:])

  /// - Parameters:
  ///   - parent: of its directory; in memory, for tests that sync thousands of times.
  ///   - takesDiscard: or not, as most disks: nothing can be cut out of a file of ramfs. (A queue that was told to take none keeps
  ///     that for whoever gets the loop device next.)
  init(
    sizeBytes: Int = 64 << 20, contents: [UInt8] = [], in parent: String = "/tmp", takesDiscard: Bool = true
  ) throws {
    // Short, because a Unix socket's path holds 107 bytes.
    let unique = String(UInt64.random(in: .min ... .max), radix: 36)
    directory = "\(parent)/iov-\(unique)"
    medium = "\(parent)/medium-\(unique)"
    claim = "test-\(unique)"
    try SmallFile.makeDirectory(directory)
    file = "\(takesDiscard ? directory : medium)/disk"
    if !takesDiscard {
      try SmallFile.makeDirectory(medium)
      guard mount("ramfs", medium, "ramfs", 0, nil) == 0 else {
        throw SystemCallError("mount ramfs on \(medium)", errno: errno)
      }
    }
    let image = try FileDescriptor(opening: file, O_RDWR | O_CREAT)
    try SmallFile.append(contents, to: image, path: directory)
    guard ftruncate(image.number, sizeBytes) == 0 else { throw SystemCallError("make a disk", errno: errno) }
    loop = try LoopDevice.attach(to: file, offset: 0, size: 0, readOnly: false)
  }

  deinit {
    try? loop.detach()
    unlink(file)
    Self.removeTree(directory)
    // There is none unless it was made above.
    umount2(medium, CInt(MNT_DETACH))
    remove(medium)
  }

  private static func removeTree(_ path: String) {
    for name in SmallFile.names(in: path) { removeTree(path + "/" + name) }
    remove(path)
  }

  var runtimeDirectory: String { directory + "/runtime" }

  var configuration: String { "endNodes:\n  - device: \(loop.path)\n" }

  /// A new plugin process, as far as the plugin can tell.
  func plugin(
    settings: String = "", configuration: String? = nil, knowing requests: [FunctionRequest]? = nil,
    host: String = "host-a", tls: PluginTLS? = nil
  ) async throws -> BlockPlugin<SATADisks> {
    try await plugin(
      of: SATADisks.self, settings: settings, configuration: configuration, knowing: requests, host: host, tls: tls)
  }

  func plugin<Class: DiskClass>(
    of diskClass: Class.Type, settings: String = "", configuration: String? = nil,
    knowing requests: [FunctionRequest]? = nil, host: String = "host-a", tls: PluginTLS? = nil
  ) async throws -> BlockPlugin<Class> {
    let text = (configuration ?? self.configuration) + settings
    let context = PluginContext(
      hostName: host, mediationAddress: "127.0.0.1", stateDirectory: directory + "/state",
      runtimeDirectory: runtimeDirectory, tls: tls, logger: Logger(label: "test"),
      knownFunctions: { [self] in requests ?? known.withLock { $0.sorted { $0.key < $1.key }.map(\.value) } })
    return try await BlockPlugin<Class>(
      configuration: Configuration.decode(BlockConfiguration<Class>.self, from: text, named: "sata.yaml"),
      context: context)
  }

  func request<Class: DiskClass>(
    _ role: Role, on plugin: BlockPlugin<Class>, token: UInt64 = 1, sizeBytes: UInt64 = 8 << 20,
    isReadOnly: Bool = false, path: Path = .unspecified,
    serverPort: UInt32 = 0, consumer: String = "127.0.0.1"
  ) async throws -> FunctionRequest {
    let endNode = try await plugin.discover().first?.id ?? ""
    let request = FunctionRequest {
      $0.role = role
      $0.assignment = Assignment {
        $0.function = "\(endNode)/\(token)"
        $0.endNode = endNode
        $0.claim = "\(claim)-\(token)"
        $0.claimUid = "uid-\(token)"
        $0.deviceClass = "sata"
        $0.path = path
        $0.host = "host-a"
        $0.controllingHost = role == .direct ? "host-a" : "host-c"
        $0.token = FencingToken { $0.value = token }
        $0.attributes = Attributes {
          $0.block = BlockAttributes {
            $0.sizeBytes = sizeBytes
            $0.readOnly = isReadOnly
          }
        }
        if role != .direct {
          $0.mediation = Mediation {
            $0.mediator = "nbd"
            $0.serverAddress = "127.0.0.1"
            $0.consumerAddress = consumer
            $0.exportName = "iov-\(token)-\(claim)"
            $0.serverPort = serverPort
          }
        }
      }
    }
    know(request)
    return request
  }

  /// What the kit remembers of a function from its first verb to its last.
  func know(_ request: FunctionRequest) { known.withLock { $0[Self.key(request)] = request } }

  func forget(_ request: FunctionRequest) { known.withLock { $0[Self.key(request)] = nil } }

  private static func key(_ request: FunctionRequest) -> String {
    "\(request.assignment?.function ?? "") \(request.role)"
  }

  /// The loop devices over the disk or over anything in its directory, without the disk itself. Found without opening any:
  /// whoever has a device open keeps another test from detaching its own.
  var loopDevices: [(path: String, backing: String)] {
    SmallFile.names(in: "/sys/block").filter { $0.hasPrefix("loop") && "/dev/\($0)" != loop.path }.compactMap { name in
      // One that is given up goes with its last user, which may be another test that looks at what is there.
      guard !LoopDevice.isGivenUp(name) else { return nil }
      let backing = SmallFile.text("/sys/block/\(name)/loop/backing_file") ?? ""
      // Asked after that was read: the number of a disk that was pulled is another test's, and so is what lies on it.
      let isOnDisk = backing == loop.path && LoopDevice.attachedSequence(loop.path) == loop.sequence
      return backing.hasPrefix(directory) || isOnDisk ? ("/dev/\(name)", backing) : nil
    }
  }

  /// As an operator would, without the plugin.
  func detachBehindItsBack(_ plugin: BlockPlugin<SATADisks>, _ request: FunctionRequest) async throws {
    try await BlockingThread.detached {
      let part = try #require(try plugin.part(FunctionPlan(request)))
      if let mapped = try MappedAttachment.device(of: part.plan.function) { return try mapped.withdraw() }
      try #require(try LoopAttachment(part: part).found()).detach()
    }
  }

  /// What is left of functions on this machine: runtime files, devices over the disk or over its exports, processes.
  func leftovers() -> [String] {
    let mapped = ((try? MappedDevice.all(over: loop.path)) ?? []).map(\.name)
    let files = SmallFile.names(in: runtimeDirectory)
    let loops = loopDevices.map { "\($0.path) on \($0.backing)" }
    let links = SmallFile.names(in: DeviceLink.directory).filter { $0.contains(claim) }
    let processes = SmallFile.names(in: "/proc").filter { pid in
      guard Int32(pid) != nil, let line = SmallFile.text("/proc/\(pid)/cmdline") else { return false }
      return line.contains(runtimeDirectory)
    }
    let mounts = (SmallFile.text("/proc/self/mounts") ?? "").split(separator: "\n").filter { $0.contains(directory) }
    return files + mapped + loops + links + processes + mounts.map(String.init)
  }
}

/// Writes past the page cache where the device can, and makes it durable.
func write(_ bytes: [UInt8], to path: String, at offset: Int = 0) async throws {
  try await BlockingThread.detached {
    let file = try FileDescriptor(opening: path, O_RDWR)
    let count = pwrite(file.number, bytes, bytes.count, offset)
    guard count == bytes.count, fsync(file.number) == 0 else { throw SystemCallError("write \(path)", errno: errno) }
  }
}

func read(_ path: String, at offset: Int = 0, count: Int) async throws -> [UInt8] {
  try await BlockingThread.detached {
    let file = try FileDescriptor(opening: path, O_RDONLY)
    var bytes = [UInt8](repeating: 0, count: count)
    guard pread(file.number, &bytes, count, offset) == count else {
      throw SystemCallError("read \(path)", errno: errno)
    }
    return bytes
  }
}

/// In one call: a system call for each byte would take seconds.
func randomBytes(_ count: Int) -> [UInt8] {
  [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
    if let base = buffer.baseAddress { arc4random_buf(base, count) }
    filled = count
  }
}
