/// A stream's number on its connection.
public typealias StreamID = Int32

/// What the peer did, and what became of what we sent.
public enum SessionEvent: Sendable, Hashable {
  /// A whole list of headers: a request's, a response's, or trailers.
  case headers(stream: StreamID, fields: HeaderList, endsStream: Bool)
  /// A list of headers above the limit; its fields were dropped.
  case headersTooLong(stream: StreamID)
  /// Bytes of a body: where they stand in what `receive` was given. They count against the stream's window until
  /// `creditStream` gives them back.
  case data(stream: StreamID, bytes: Range<Int>)
  /// The peer has sent all of its body.
  case bodyEnded(stream: StreamID)
  /// Our own side's end has left.
  case endSent(stream: StreamID)
  /// The stream is over, with an HTTP/2 error code (RFC 9113 §7; 0 is none). Nothing more is said of it.
  case closed(stream: StreamID, errorCode: UInt32)
  /// The peer takes no stream above `lastStream`.
  case goAway(lastStream: StreamID, errorCode: UInt32)
  /// The peer's settings have come: it speaks HTTP/2.
  case settingsReceived
  /// The peer asks for a sign of life; its answer is under way.
  case pinged
  /// The peer has answered `ping(payload)`.
  case pingAnswered(payload: UInt64)
}

/// The connection cannot go on; what was received is no HTTP/2, or memory is short.
public struct HTTP2Error: Error, Hashable, CustomStringConvertible {
  public let code: Int32
  public let description: String
}

/// HTTP/2 error codes that the layers above name (RFC 9113 §7).
public enum ErrorCode {
  public static let none: UInt32 = 0x0
  public static let protocolError: UInt32 = 0x1
  public static let internalError: UInt32 = 0x2
  public static let refusedStream: UInt32 = 0x7
  public static let cancel: UInt32 = 0x8
  public static let enhanceYourCalm: UInt32 = 0xb
}

/// What this side allows the peer.
public struct SessionSettings: Sendable, Hashable {
  /// Streams that the peer may have open at a time.
  public var maximumConcurrentStreams: UInt32 = 1024
  /// Bytes of a stream's body that may be on the way or unread.
  public var streamWindowByteCount: Int32 = 256 << 10
  /// The same for all streams of the connection together.
  public var connectionWindowByteCount: Int32 = 4 << 20
  /// Bytes of one frame that the peer may send (RFC 9113 §6.5.2: 16,384 to 16,777,215). Larger ones cost less for each byte.
  public var maximumFrameByteCount: Int32 = 64 << 10
  /// Bytes of one header list, names and values, with 32 for each field.
  public var maximumHeaderListByteCount: Int = 16 << 10

  public init() {}
}
