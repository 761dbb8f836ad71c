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
  private let directory: String

  init(stateDirectory: String) { directory = "\(stateDirectory)/scrubs" }

  /// Whether a cleaning has begun, and is not known to have ended well.
  func isUnfinished(_ function: String) -> Bool {
    guard let text = SmallFile.text(path(function)) else { return false }
    return ScrubRecord(text)?.isComplete != true
  }

  func record(of function: String) -> ScrubRecord? { SmallFile.text(path(function)).flatMap { ScrubRecord($0) } }

  var all: [ScrubRecord] {
    SmallFile.names(in: directory).sorted().compactMap { name in
      SmallFile.text("\(directory)/\(name)").flatMap { ScrubRecord($0) }
    }
  }

  /// - Parameter durably: false where it is enough to know of an earlier moment after a loss of power.
  func write(_ record: ScrubRecord, durably: Bool) throws(SystemCallError) {
    try SmallFile.makeDirectory(directory)
    try SmallFile.replace(path(record.function), with: Array(record.text.utf8), durably: durably)
  }

  func remove(_ function: String) throws(SystemCallError) { try SmallFile.remove(path(function)) }

  private func path(_ function: String) -> String { "\(directory)/\(StableDigest.hexadecimal(function))" }
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
    var values: [Substring: String] = [:]
    var covered = ""
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: " ", maxSplits: 1)
      guard let key = parts.first else { continue }
      values[key] = parts.count == 2 ? String(parts[1]) : ""
      if key != "end" { covered += line + "\n" }
    }
    let extent = (values["extent"] ?? "").split(separator: " ").compactMap { UInt64($0) }
    guard values["end"] == StableDigest.hexadecimal(covered), let function = values["function"],
      let endNode = values["disk"], let token = values["token"].flatMap({ UInt64($0) }), extent.count == 2,
      let method = values["method"].flatMap({ ScrubMethod(rawValue: $0) }),
      let isSanitized = values["sanitized"].flatMap({ Bool($0) }), let done = values["done"].flatMap({ UInt64($0) })
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
