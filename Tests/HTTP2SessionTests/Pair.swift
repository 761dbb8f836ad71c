import HTTP2Session
import Testing

/// A client and a server back to back: what one sends, the other gets, in pieces of any size.
final class Pair {
  let client: HTTP2Session
  let server: HTTP2Session
  /// What each side was told, with the bytes of bodies joined.
  var clientSaw = Sightings()
  var serverSaw = Sightings()
  /// Bytes of a read at most.
  var pieceByteCount = Int.max

  init(client: SessionSettings = SessionSettings(), server: SessionSettings = SessionSettings()) throws {
    self.client = try HTTP2Session(.client, settings: client)
    self.server = try HTTP2Session(.server, settings: server)
  }

  /// Carries bytes both ways until neither side has any.
  func exchange() throws {
    while true {
      let moved =
        try carry(from: client, seenBy: &clientSaw, to: server, &serverSaw)
        + carry(from: server, seenBy: &serverSaw, to: client, &clientSaw)
      if moved == 0 { return }
    }
  }

  private func carry(
    from sender: HTTP2Session, seenBy sent: inout Sightings, to receiver: HTTP2Session, _ received: inout Sightings
  ) throws -> Int {
    var bytes: [UInt8] = []
    try sender.outgoingBytes { copied, pieces in
      if pieces.isEmpty { bytes += copied }
      for piece in pieces {
        switch piece {
        case .copied(let range): bytes += copied[range]
        case .shared(let owner, let range): bytes += (owner as? Kept)?.bytes[range] ?? []
        }
      }
    }
    sent.add(sender.takeEvents(), [])
    var first = 0
    while first < bytes.count {
      let piece = Array(bytes[first..<min(bytes.count, first + min(pieceByteCount, bytes.count))])
      first += piece.count
      received.add(try receiver.receive(piece), piece)
    }
    return bytes.count
  }
}

/// Bytes of a body that are not copied on their way.
final class Kept {
  let bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }
}

/// What a session has told its owner.
struct Sightings {
  var events: [SessionEvent] = []
  var bodies: [StreamID: [UInt8]] = [:]

  mutating func add(_ events: [SessionEvent], _ received: [UInt8]) {
    self.events += events
    for case .data(let stream, let range) in events { bodies[stream, default: []] += received[range] }
  }

  func headers(of stream: StreamID) -> [[String]] {
    events.compactMap { event in
      guard case .headers(stream, let fields, _) = event else { return nil }
      return fields.fields.map { "\($0.name): \($0.value)" }
    }
  }

  func contains(_ event: SessionEvent) -> Bool { events.contains(event) }
}

extension HTTP2Session {
  func receive(_ bytes: [UInt8]) throws -> [SessionEvent] {
    try bytes.withUnsafeBytes { bytes in Result { try receive(bytes) } }.get()
  }

  func send(on stream: StreamID, _ bytes: [UInt8]) {
    send(on: stream, byteCount: bytes.count) { $0.copyBytes(from: bytes) }
  }
}

let request = HeaderList([(":method", "POST"), (":scheme", "http"), (":path", "/a/b"), (":authority", "x")])
let response = HeaderList([(":status", "200")])
