import BlockFunctions
import FunctionPluginKit
import LinuxDevices

/// A namespace that a virtual function of its drive has: this host has no block device of it meanwhile, and what is known of
/// it is what was known before.
struct AwayNamespace: Sendable, Hashable {
  /// Of ours, that has it.
  var function: String
  var identity: String
  /// How the configuration names it.
  var path: String
  var subsystem: String
  var number: UInt32
  /// Of the drive's virtual functions, from 0: outlives reboots, unlike addresses.
  var index: UInt32
  var facts: BlockFacts
}

/// Durable, written before anything is done to the drive: a file for each namespace, in words that people can read.
struct AwayNamespaces: Sendable {
  private let directory: String

  init(stateDirectory: String) { directory = "\(stateDirectory)/away" }

  var all: [AwayNamespace] {
    get throws {
      try SmallFile.names(in: directory).filter { !$0.hasPrefix(".") }.compactMap { name in
        guard let text = SmallFile.text("\(directory)/\(name)") else { return nil }
        guard let namespace = AwayNamespace(text) else {
          throw PluginError(
            .dataLoss,
            "\(directory)/\(name) is damaged, so nobody knows which virtual function has a namespace. Attach the namespace to "
              + "its primary controller (nvme attach-ns) and remove the file.")
        }
        return namespace
      }
    }
  }

  func write(_ namespace: AwayNamespace) throws {
    try SmallFile.makeDirectory(directory)
    try SmallFile.replace(file(namespace.identity), with: Array(namespace.text.utf8))
  }

  func remove(_ identity: String) throws { try SmallFile.remove(file(identity)) }

  private func file(_ identity: String) -> String { "\(directory)/\(StableDigest.hexadecimal(identity))" }
}

extension AwayNamespace {
  fileprivate var text: String {
    """
    function \(function)
    identity \(identity)
    path \(path)
    subsystem \(subsystem)
    namespace \(number)
    virtual-function \(index)
    size \(facts.sizeBytes)
    sectors \(facts.logicalSectorBytes) \(facts.physicalSectorBytes)
    read-only \(facts.isReadOnly)

    """
  }

  fileprivate init?(_ text: String) {
    var values: [Substring: String] = [:]
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: " ", maxSplits: 1)
      if parts.count == 2 { values[parts[0]] = String(parts[1]) }
    }
    let sectors = (values["sectors"] ?? "").split(separator: " ").compactMap { UInt32($0) }
    guard let function = values["function"], let identity = values["identity"], let path = values["path"],
      let subsystem = values["subsystem"], let number = values["namespace"].flatMap({ UInt32($0) }),
      let index = values["virtual-function"].flatMap({ UInt32($0) }), let size = values["size"].flatMap({ UInt64($0) }),
      sectors.count == 2, let isReadOnly = values["read-only"].flatMap({ Bool($0) })
    else { return nil }
    self.init(
      function: function, identity: identity, path: path, subsystem: subsystem, number: number, index: index,
      facts: BlockFacts(
        sizeBytes: size, logicalSectorBytes: sectors[0], physicalSectorBytes: sectors[1], isReadOnly: isReadOnly))
  }
}
