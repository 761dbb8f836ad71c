import FunctionPluginKit
import Glibc
import LinuxDevices
import Synchronization

/// Which of a card's own functions each function is, durable: a function that a virtual machine drives has no interface on
/// which its owner could stand.
///
/// A line each, for people who must look at it:
///
///     function ethernet/serial/00-…-01/0/17 ethernet/serial/00-…-01/0 3
///     driver ethernet/serial/00-…-01/0 igbvf
///
/// The index is the card's own (`virtfn3`) and outlives reboots; where the function is on the bus does not.
final class FunctionTable: Sendable {
  struct Entry: Sendable, Hashable {
    var endNode: String
    var index: UInt32
  }

  fileprivate struct State {
    var entries: [String: Entry] = [:]
    /// By end node: what drives its functions when they have an interface.
    var drivers: [String: String] = [:]
    var path: String?
    /// Nil until there is something to keep: most hosts have no such card.
    var file: RecordFile?
  }

  private let state: Mutex<State>

  /// Kept in memory alone.
  init() { state = Mutex(State()) }

  /// Reads the file, if there is one yet.
  init(path: String) throws {
    var state = State()
    state.path = path
    guard access(path, F_OK) == 0 else {
      self.state = Mutex(state)
      return
    }
    state.file = try RecordFile.open(path) { record, line in
      guard let record, state.take(record) else {
        throw PluginError(
          .dataLoss,
          "line \(line) of \(path) is damaged, so nobody knows which function of the cards belongs to whom. Restore it "
            + "from a backup; if none of them is in use, remove the file.")
      }
    }
    self.state = Mutex(state)
  }

  subscript(function: String) -> Entry? { state.withLock { $0.entries[function] } }

  /// The functions that have one of the card's, by its index.
  func holders(of endNode: String) -> [UInt32: String] {
    state.withLock { state in
      var holders: [UInt32: String] = [:]
      for (function, entry) in state.entries where entry.endNode == endNode { holders[entry.index] = function }
      return holders
    }
  }

  var functions: [String] { state.withLock { $0.entries.keys.sorted() } }

  /// Gives a function the first of the card's that is free, or answers the one it has. Durable when it returns.
  ///
  /// - Parameter usable: the indexes that may be given.
  /// - Returns: nil when none is free.
  func allocate(_ function: String, of endNode: String, among usable: [UInt32]) throws -> UInt32? {
    try state.withLock { state -> UInt32? in
      if let entry = state.entries[function] { return entry.index }
      let taken = Set(state.entries.values.lazy.filter { $0.endNode == endNode }.map(\.index))
      guard let index = usable.first(where: { !taken.contains($0) }) else { return nil }
      try state.save { $0.entries[function] = Entry(endNode: endNode, index: index) }
      return index
    }
  }

  /// Takes a function that is found on a card's into the table, where the table was lost.
  func adopt(_ function: String, _ entry: Entry) throws {
    try state.withLock { state in
      guard state.entries[function] != entry else { return }
      try state.save { $0.entries[function] = entry }
    }
  }

  func release(_ function: String) throws {
    try state.withLock { state in
      guard state.entries[function] != nil else { return }
      try state.save { $0.entries[function] = nil }
    }
  }

  func driver(of endNode: String) -> String? { state.withLock { $0.drivers[endNode] } }

  func remember(driver: String, of endNode: String) throws {
    try state.withLock { state in
      guard state.drivers[endNode] != driver else { return }
      try state.save { $0.drivers[endNode] = driver }
    }
  }
}

extension FunctionTable.State {
  fileprivate mutating func take(_ record: Substring) -> Bool {
    let words = record.split(separator: " ").map(String.init)
    switch words.first {
    case "function" where words.count == 4:
      guard let index = UInt32(words[3]) else { return false }
      entries[words[1]] = FunctionTable.Entry(endNode: words[2], index: index)
    case "driver" where words.count == 3: drivers[words[1]] = words[2]
    default: return false
    }
    return true
  }

  /// The change counts once it is in the file. There are a few dozen lines at most: it is written as a whole.
  fileprivate mutating func save(_ change: (inout Self) -> Void) throws {
    var changed = self
    change(&changed)
    let functions = changed.entries.sorted { $0.key < $1.key }.map { "function \($0) \($1.endNode) \($1.index)" }
    let drivers = changed.drivers.sorted { $0.key < $1.key }.map { "driver \($0) \($1)" }
    if changed.file == nil, let path { changed.file = try RecordFile.open(path) { _, _ in } }
    try changed.file?.rewrite(functions + drivers, durably: true)
    self = changed
  }
}
