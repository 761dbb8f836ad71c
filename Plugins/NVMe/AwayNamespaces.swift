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
  private let notes: NoteDirectory

  init(stateDirectory: String) { notes = NoteDirectory("\(stateDirectory)/away") }

  var all: [AwayNamespace] {
    get throws {
      try notes.texts.map { file, text in
        guard let namespace = AwayNamespace(text) else {
          throw PluginError(
            .dataLoss,
            "\(file) is damaged, so nobody knows which virtual function has a namespace. Attach the namespace to "
              + "its primary controller (nvme attach-ns) and remove the file.")
        }
        return namespace
      }
    }
  }

  func write(_ namespace: AwayNamespace) throws { try notes.write(namespace.text, namespace.identity) }

  func remove(_ identity: String) throws { try notes.remove(identity) }
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
    let values = NamedLines(text)
    let sectors: [UInt32] = values.numbers("sectors")
    guard let function = values["function"], let identity = values["identity"], let path = values["path"],
      let subsystem = values["subsystem"], let number: UInt32 = values.number("namespace"),
      let index: UInt32 = values.number("virtual-function"), let size: UInt64 = values.number("size"),
      sectors.count == 2, let isReadOnly = values.flag("read-only")
    else { return nil }
    self.init(
      function: function, identity: identity, path: path, subsystem: subsystem, number: number, index: index,
      facts: BlockFacts(
        sizeBytes: size, logicalSectorBytes: sectors[0], physicalSectorBytes: sectors[1], isReadOnly: isReadOnly))
  }
}
