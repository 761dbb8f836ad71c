import Glibc
import LinuxDevices
import Synchronization

/// What the agent keeps between its runs: who this host is, and whom it has obeyed. One agent at a time.
package final class StateDirectory: Sendable {
  /// Whom this host has obeyed.
  struct Allegiance: Sendable, Hashable {
    /// Empty before the first join.
    var clusterID = ""
    var highestEpoch: UInt64 = 0
    /// As the coordinator granted it last: a lease that this host had when the agent ended is over after that.
    var leaseTermMilliseconds: UInt32 = 10_000
  }

  /// The device classes of plugins that have served, by the plugin's name: a class is known from the agent's start on,
  /// though its plugin has yet to say so.
  typealias DeviceClasses = [String: String]

  let path: String
  /// Made at the first start; the coordinator binds the host's name to it.
  package let instanceID: String
  private let lock: FileDescriptor
  private let allegiance: Mutex<Allegiance>
  private let classes: Mutex<DeviceClasses>

  var journalPath: String { Self.journalPath(in: path) }
  static func journalPath(in stateDirectory: String) -> String { stateDirectory + "/journal" }

  var current: Allegiance { allegiance.withLock { $0 } }
  var deviceClasses: DeviceClasses { classes.withLock { $0 } }

  /// Makes the directory if there is none, and takes it for this process.
  package init(_ path: String) throws {
    self.path = path
    try SmallFile.makeDirectory(path)
    lock = try Self.takeLock(path + "/lock")
    instanceID = try Self.instanceID(path + "/instance-id")
    allegiance = Mutex(try Self.allegiance(path + "/coordinator"))
    classes = Mutex(Self.deviceClasses(path + "/device-classes"))
  }

  /// Durable when it returns. Blocks on the disk; one caller at a time.
  func save(_ change: (inout Allegiance) -> Void) throws {
    var changed = current
    change(&changed)
    guard changed != current else { return }
    let text = """
      cluster \(changed.clusterID)
      epoch \(changed.highestEpoch)
      lease-term-milliseconds \(changed.leaseTermMilliseconds)

      """
    try SmallFile.replace(path + "/coordinator", with: Array(text.utf8))
    allegiance.withLock { $0 = changed }
  }

  /// Remembers the class of a plugin. Blocks on the disk; one caller at a time.
  func save(deviceClass: String, ofPlugin plugin: String) throws {
    var changed = deviceClasses
    guard changed.updateValue(deviceClass, forKey: plugin) != deviceClass else { return }
    let text = changed.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }.joined()
    try SmallFile.replace(path + "/device-classes", with: Array(text.utf8))
    classes.withLock { $0 = changed }
  }

  /// Only a convenience: what cannot be read will be said by the plugins.
  private static func deviceClasses(_ path: String) -> DeviceClasses {
    var classes: DeviceClasses = [:]
    for line in (SmallFile.text(path) ?? "").split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2 { classes[String(words[0])] = String(words[1]) }
    }
    return classes
  }

  private static func takeLock(_ path: String) throws -> FileDescriptor {
    let file = try FileDescriptor(opening: path, O_RDWR | O_CREAT)
    guard flock(file.number, LOCK_EX | LOCK_NB) == 0 else {
      let holder = SmallFile.text(path) ?? ""
      throw AgentError(
        "another agent\(holder.isEmpty ? "" : " (process \(holder))") uses this state directory: it holds the lock "
          + "\(path). Stop it, or give this agent another stateDirectory")
    }
    ftruncate(file.number, 0)
    // For people who look; the lock itself is the kernel's, and needs no room on the disk.
    try? SmallFile.append(Array("\(getpid())\n".utf8), to: file, path: path)
    return file
  }

  private static func instanceID(_ path: String) throws -> String {
    if access(path, F_OK) == 0 {
      let text = String(decoding: try SmallFile.read(path), as: UTF8.self).prefix { !$0.isWhitespace }
      guard isUUID(text) else {
        throw AgentError(
          "\(path) holds no UUID. It says who this host is to the coordinator: restore it from a backup, or remove it and "
            + "have this host join under another name")
      }
      return String(text)
    }
    let made = randomUUID()
    try SmallFile.replace(path, with: Array((made + "\n").utf8))
    return made
  }

  private static func allegiance(_ path: String) throws -> Allegiance {
    var allegiance = Allegiance()
    guard access(path, F_OK) == 0 else { return allegiance }
    for line in String(decoding: try SmallFile.read(path), as: UTF8.self).split(separator: "\n") {
      let words = line.split(separator: " ", omittingEmptySubsequences: false)
      switch words.first {
      case "cluster" where words.count == 2: allegiance.clusterID = String(words[1])
      case "epoch" where words.count == 2 && UInt64(words[1]) != nil:
        allegiance.highestEpoch = UInt64(words[1]) ?? 0
      case "lease-term-milliseconds" where words.count == 2 && UInt32(words[1]) != nil:
        allegiance.leaseTermMilliseconds = UInt32(words[1]) ?? 0
      default: throw AgentError("\(path) is damaged at '\(line)'; restore it from a backup")
      }
    }
    return allegiance
  }

  private static func isUUID(_ text: Substring) -> Bool {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    return parts.map(\.utf8.count) == [8, 4, 4, 4, 12] && parts.allSatisfy { $0.allSatisfy(\.isHexDigit) }
  }
}
