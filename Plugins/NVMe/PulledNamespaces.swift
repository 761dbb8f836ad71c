import BlockFunctions
import FunctionPluginKit
import LinuxDevices

/// A namespace that is being taken from whoever has it open on this host: for a moment it is attached to nothing.
struct PulledNamespace: Sendable, Hashable {
  var identity: String
  /// How the configuration names it.
  var path: String
  var subsystem: String
  var number: UInt32
  /// It is to be attached to these again.
  var controllers: [UInt16]
}

/// Durable, written before the namespace is detached: whoever finds it gone, after a drive that refused to attach it again or in
/// another run of the plugin, knows where it belongs.
struct PulledNamespaces: Sendable {
  private let notes: NoteDirectory

  init(stateDirectory: String) { notes = NoteDirectory("\(stateDirectory)/pulled") }

  var all: [PulledNamespace] { notes.texts.compactMap { PulledNamespace($0.text) } }

  func write(_ namespace: PulledNamespace) throws { try notes.write(namespace.text, namespace.identity) }

  func remove(_ identity: String) throws { try notes.remove(identity) }
}

extension PulledNamespace {
  init(_ found: FoundNamespace, path: String, controllers: [UInt16]) {
    self.init(
      identity: found.identity, path: path, subsystem: found.subsystem.qualifiedName, number: found.namespace.number,
      controllers: controllers)
  }

  fileprivate var text: String {
    """
    identity \(identity)
    path \(path)
    subsystem \(subsystem)
    namespace \(number)
    controllers \(controllers.map { "\($0)" }.joined(separator: " "))

    """
  }

  fileprivate init?(_ text: String) {
    let values = NamedLines(text)
    guard let identity = values["identity"], let path = values["path"], let subsystem = values["subsystem"],
      let number: UInt32 = values.number("namespace")
    else { return nil }
    self.init(
      identity: identity, path: path, subsystem: subsystem, number: number, controllers: values.numbers("controllers"))
  }

  /// Attaches it where it was; what is attached already is left alone.
  func attachAgain(_ access: NVMeAccess) throws {
    let there = access.sysfs.nvmeSubsystems().first { $0.qualifiedName == subsystem }?.controllers ?? []
    guard let controller = there.first(where: { $0.state == .live }) else {
      throw PluginError(
        .unavailable, "The drive \(subsystem) of \(identity) is not there, or none of its controllers is live.")
    }
    let drive = try access.transport(to: controller)
    let attached = Set(try drive.send(Identify.controllers(ofNamespace: number)))
    let missing = controllers.filter { !attached.contains($0) }
    if !missing.isEmpty {
      try drive.send(NamespaceAttachment(.attach, namespace: number, controllers: missing))
    }
    access.lookAgain(there.map(\.name))
  }
}
