import LinuxDevices
import Services

/// One record of the ledger's file: what happened.
enum LedgerRecord: Sendable, Hashable {
  case seen(FunctionRequest)
  case released(String, endNode: String, token: UInt64)
  case gone(String)
  case control(String, token: UInt64, yielded: Bool)
  /// How many functions of its own the device is to make; nil: nobody has said so, or not any more.
  case functionCount(String, UInt32?)
  /// Gone functions of this end node up to this token are no longer listed.
  case forgotten(String, token: UInt64)

  /// "word token base64…"; names are in base64 because they may hold anything.
  var text: String {
    switch self {
    case .seen(let request): "seen 0 \(Base64Word.encode(request.encoded()))"
    case .released(let id, let endNode, let token):
      "released \(token) \(Base64Word.encode(Array(id.utf8))) \(Base64Word.encode(Array(endNode.utf8)))"
    case .gone(let id): "gone 0 \(Base64Word.encode(Array(id.utf8)))"
    case .control(let endNode, let token, let yielded):
      "\(yielded ? "yielded" : "control") \(token) \(Base64Word.encode(Array(endNode.utf8)))"
    case .functionCount(let endNode, let count?): "count \(count) \(Base64Word.encode(Array(endNode.utf8)))"
    case .functionCount(let endNode, nil): "uncounted 0 \(Base64Word.encode(Array(endNode.utf8)))"
    case .forgotten(let endNode, let token): "forgotten \(token) \(Base64Word.encode(Array(endNode.utf8)))"
    }
  }

  /// Nil when it is no record of this kit.
  init?(_ text: Substring) {
    let parts = text.split(separator: " ")
    guard parts.count >= 3, let token = UInt64(parts[1]), let first = Base64Word.decode(parts[2]) else { return nil }
    let name = String(decoding: first, as: UTF8.self)
    switch (parts[0], parts.count) {
    case ("seen", 3):
      guard let request = try? FunctionRequest(decoding: first) else { return nil }
      self = .seen(request)
    case ("released", 4):
      guard let endNode = Base64Word.decode(parts[3]) else { return nil }
      self = .released(name, endNode: String(decoding: endNode, as: UTF8.self), token: token)
    case ("gone", 3): self = .gone(name)
    case ("control", 3): self = .control(name, token: token, yielded: false)
    case ("yielded", 3): self = .control(name, token: token, yielded: true)
    case ("count", 3):
      guard let count = UInt32(exactly: token) else { return nil }
      self = .functionCount(name, count)
    case ("uncounted", 3): self = .functionCount(name, nil)
    case ("forgotten", 3): self = .forgotten(name, token: token)
    default: return nil
    }
  }
}
