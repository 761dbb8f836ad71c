import LinuxDevices

/// Remembers, durably, that a disk was or may have been seized for a function: one that the disk does not keep for it any more
/// was taken away, and is never seized again under the same token, however late this host hears of it.
struct SeizureMark: Sendable {
  private let marks: NoteDirectory
  private let function: String

  init(stateDirectory: String, function: String) {
    marks = NoteDirectory("\(stateDirectory)/seized")
    self.function = function
  }

  var exists: Bool { marks.text(function) != nil }

  func make() throws(SystemCallError) { try marks.write("\(function)\n", function) }

  func remove() throws(SystemCallError) { try marks.remove(function) }
}
