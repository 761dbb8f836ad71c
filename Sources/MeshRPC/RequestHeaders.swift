import HTTP2Session

/// What the server must know of a request's headers before it can start the call; found in one pass.
struct RequestHeaders {
  private var isPost = false
  private var hasContentType = false
  private(set) var pathHash: UInt64 = 0
  private(set) var timeout: String?
  private(set) var encoding = MessageEncoding.identity
  private(set) var unknownEncoding: String?
  private(set) var acceptsGzip = false

  var isGRPC: Bool { isPost && hasContentType }

  init(_ fields: HeaderList) {
    fields.forEach { name, value in
      switch name.count {
      case 5 where name.equals(":path"): pathHash = Router.hash(value)
      case 7 where name.equals(":method"): isPost = value.equals("POST")
      case 12 where name.equals("content-type"): hasContentType = Self.isGRPC(value)
      case 12 where name.equals("grpc-timeout"): timeout = String(decoding: value, as: UTF8.self)
      case 13 where name.equals("grpc-encoding"):
        let name = String(decoding: value, as: UTF8.self)
        if let known = MessageEncoding(name: name) { encoding = known } else { unknownEncoding = name }
      case 20 where name.equals("grpc-accept-encoding"): acceptsGzip = value.namesGzip
      default: break
      }
    }
  }

  private static func isGRPC(_ contentType: UnsafeRawBufferPointer) -> Bool {
    contentType.equals("application/grpc") || contentType.starts(with: "application/grpc+proto")
      || contentType.starts(with: "application/grpc;")
  }
}
