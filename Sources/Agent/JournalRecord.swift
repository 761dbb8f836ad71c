import LinuxDevices
import Reconciliation
import Services

/// One record of the journal: what was wanted, and what was done about it.
struct JournalRecord: Sendable, Hashable {
  enum Event: Sendable, Hashable {
    /// The coordinator wants this, or wants it released.
    case wanted(WantedFunction, bootID: String)
    /// Released and gone, or not spoken of any more.
    case forgotten(FunctionKey)
    case begun(FunctionKey, verb: String)
    case ended(FunctionKey, verb: String, result: String)
  }

  /// Since 1970, on the clock that people read.
  var milliseconds: Int64
  var event: Event

  /// "time word …"; what may hold anything is in base64.
  var text: String {
    switch event {
    case .wanted(let entry, let bootID): "\(milliseconds) wanted \(bootID) \(Base64Word.encode(entry.encoded()))"
    case .forgotten(let key): "\(milliseconds) forgotten \(Self.words(key))"
    case .begun(let key, let verb): "\(milliseconds) begun \(Self.words(key)) \(verb)"
    case .ended(let key, let verb, let result):
      "\(milliseconds) ended \(Self.words(key)) \(verb) \(Base64Word.encode(Array(result.utf8)))"
    }
  }

  init(at milliseconds: Int64, _ event: Event) {
    self.milliseconds = milliseconds
    self.event = event
  }

  /// Nil when it is no record of this agent.
  init?(_ text: Substring) {
    let words = text.split(separator: " ")
    guard words.count >= 4, let milliseconds = Int64(words[0]) else { return nil }
    let event: Event? =
      switch (words[1], words.count) {
      case ("wanted", 4):
        Base64Word.decode(words[3]).flatMap { try? WantedFunction(decoding: $0) }
          .map { .wanted($0, bootID: String(words[2])) }
      case ("forgotten", 5): Self.key(words[2...]).map { .forgotten($0) }
      case ("begun", 6): Self.key(words[2...]).map { .begun($0, verb: String(words[5])) }
      case ("ended", 7): Self.ended(words)
      default: nil
      }
    guard let event else { return nil }
    self.init(at: milliseconds, event)
  }

  private static func ended(_ words: [Substring]) -> Event? {
    guard let key = key(words[2...]), let result = Base64Word.decode(words[6]) else { return nil }
    return .ended(key, verb: String(words[5]), result: String(decoding: result, as: UTF8.self))
  }

  private static func words(_ key: FunctionKey) -> String {
    "\(Base64Word.encode(Array(key.function.utf8))) \(key.role.rawValue) \(key.token)"
  }

  private static func key(_ words: ArraySlice<Substring>) -> FunctionKey? {
    let words = Array(words.prefix(3))
    guard words.count == 3, let function = Base64Word.decode(words[0]), let role = Int32(words[1]),
      let token = UInt64(words[2])
    else { return nil }
    return FunctionKey(function: String(decoding: function, as: UTF8.self), role: Role(rawValue: role), token: token)
  }
}

extension JournalRecord: CustomStringConvertible {
  /// A line for people.
  var description: String {
    let time = WallClock.text(milliseconds)
    switch event {
    case .wanted(let entry, _):
      let name = FunctionKey(entry)?.description ?? "?"
      let claim = entry.assignment?.claim ?? ""
      return
        "\(time)  \(name) \(entry.released ? "is released" : "is wanted") for claim '\(claim)', revision \(entry.revision)"
    case .forgotten(let key): return "\(time)  \(key) is done with"
    case .begun(let key, let verb): return "\(time)  \(key) \(verb) begins"
    case .ended(let key, let verb, let result): return "\(time)  \(key) \(verb) ends: \(result)"
    }
  }
}
