import LinuxDevices
import Services

/// How far the cleaning of one function has come. A disk of today takes hours, in which a plugin may be started anew.
struct ScrubRecord: Sendable, Hashable {
  var function: String
  var endNode: String
  /// Of the request: a function that was taken from its host is cleaned under its fencer's.
  var token: UInt64
  var place: Extent
  var method: ScrubMethod
  /// The disk has erased itself as a whole.
  var isSanitized = false
  /// From the beginning; clean, and read back as clean.
  var doneBytes: UInt64 = 0
  var failure: String?

  var isComplete: Bool { doneBytes >= place.sizeBytes }

  var state: ScrubState {
    ScrubState {
      $0.method = method.rawValue
      $0.doneBytes = doneBytes
      $0.totalBytes = place.sizeBytes
      $0.failure = failure ?? ""
    }
  }
}

/// The cleanings that have begun, each in a file, until their functions are destroyed.
///
/// A file that is damaged is of a cleaning that has to begin anew; that there is one says all the same that the function is not
/// known to be clean.
struct ScrubJournal: Sendable {
  private let notes: NoteDirectory

  init(stateDirectory: String) { notes = NoteDirectory("\(stateDirectory)/scrubs") }

  /// Whether a cleaning has begun, and is not known to have ended well.
  func isUnfinished(_ function: String) -> Bool {
    guard let text = notes.text(function) else { return false }
    return ScrubRecord(text)?.isComplete != true
  }

  func record(of function: String) -> ScrubRecord? { notes.text(function).flatMap { ScrubRecord($0) } }

  var all: [ScrubRecord] { notes.texts.compactMap { ScrubRecord($0.text) } }

  func write(_ record: ScrubRecord, durably: Bool) throws(SystemCallError) {
    try notes.write(record.text, record.function, durably: durably)
  }

  func remove(_ function: String) throws(SystemCallError) { try notes.remove(function) }
}

extension ScrubRecord {
  fileprivate var text: String {
    let text = """
      function \(function)
      disk \(endNode)
      token \(token)
      extent \(place.offsetBytes) \(place.sizeBytes)
      method \(method.rawValue)
      sanitized \(isSanitized)
      done \(doneBytes)
      failure \(failure?.split(separator: "\n").joined(separator: " ") ?? "")

      """
    return text + "end \(StableDigest.hexadecimal(text))\n"
  }

  fileprivate init?(_ text: String) {
    let values = NamedLines(text)
    let covered = text.split(separator: "\n").filter { !$0.hasPrefix("end ") }.map { $0 + "\n" }.joined()
    let extent: [UInt64] = values.numbers("extent")
    guard values["end"] == StableDigest.hexadecimal(covered), let function = values["function"],
      let endNode = values["disk"], let token: UInt64 = values.number("token"), extent.count == 2,
      let method = values["method"].flatMap({ ScrubMethod(rawValue: $0) }),
      let isSanitized = values.flag("sanitized"), let done: UInt64 = values.number("done")
    else { return nil }
    let place = Extent {
      $0.offsetBytes = extent[0]
      $0.sizeBytes = extent[1]
    }
    self.init(
      function: function, endNode: endNode, token: token, place: place, method: method, isSanitized: isSanitized,
      doneBytes: done, failure: values["failure"].flatMap { $0.isEmpty ? nil : $0 })
  }
}
