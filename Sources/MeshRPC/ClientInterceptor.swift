/// Looks at a channel's calls, or changes how they are made: credentials, metrics, tracing context, a log.
public protocol ClientInterceptor: Sendable {
  /// Called before a call begins. May change its options but for the compression; by throwing, which should be `RPCError`, it refuses the call.
  /// What it returns is told how the call ended, once, and must not block.
  ///
  /// A channel's interceptors are asked in order.
  func callBegins(_ path: String, _ options: inout CallOptions) async throws -> CallObserver?
}

public typealias CallObserver = @Sendable (_ end: CallEnd) -> Void

/// How a call ended.
public struct CallEnd: Sendable {
  /// `/package.Service/Method`.
  public let path: String
  /// nil: well.
  public let error: RPCError?
  /// From before its first attempt.
  public let duration: Duration
  /// Attempts that failed before the last one.
  public let previousAttempts: Int

  public var code: StatusCode { error?.code ?? .ok }
}

/// Those who are told of a call's end.
struct CallObservers: Sendable {
  let path: String
  private let begin = ContinuousClock.now
  private var observers: [CallObserver] = []

  /// Asks the interceptors; if one refuses the call, those before it are told.
  init(_ interceptors: [any ClientInterceptor], _ path: String, _ options: inout CallOptions) async throws {
    self.path = path
    for interceptor in interceptors {
      do {
        if let observer = try await interceptor.callBegins(path, &options) { observers.append(observer) }
      } catch {
        let error = RPCError(wrapping: error)
        ended(error, previousAttempts: 0)
        throw error
      }
    }
  }

  func ended(_ error: RPCError?, previousAttempts: Int) {
    let end = CallEnd(path: path, error: error, duration: begin.duration(to: .now), previousAttempts: previousAttempts)
    for observer in observers { observer(end) }
  }
}
