import FunctionPluginKit
import LinuxDevices

/// Which virtual function of which adapter is whose.
struct AdapterNote: Sendable, Hashable {
  /// Of ours.
  var function: String
  var endNode: String
  /// Of the adapter's virtual functions, from 0: outlives reboots, unlike addresses.
  var index: UInt32
}

/// Durable, written before a function is touched.
struct AdapterNotes: Sendable {
  private let notes: NoteDirectory

  init(stateDirectory: String) { notes = NoteDirectory("\(stateDirectory)/adapters") }

  var all: [AdapterNote] {
    get throws {
      try notes.texts.map { file, text in
        let values = NamedLines(text)
        guard let function = values["function"], let endNode = values["adapter"],
          let index: UInt32 = values.number("virtual-function")
        else {
          throw PluginError(
            .dataLoss, "\(file) is damaged, so nobody knows who has which virtual function: restore it from a backup.")
        }
        return AdapterNote(function: function, endNode: endNode, index: index)
      }
    }
  }

  func note(of function: String) throws -> AdapterNote? { try all.first { $0.function == function } }

  func write(_ note: AdapterNote) throws {
    try notes.write(
      "function \(note.function)\nadapter \(note.endNode)\nvirtual-function \(note.index)\n", note.function)
  }

  func remove(_ function: String) throws { try notes.remove(function) }
}
