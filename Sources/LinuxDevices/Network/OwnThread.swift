import Glibc

/// Runs a piece of work on a new thread that ends with it, and waits for it.
///
/// For what changes the thread itself (setns, unshare): a thread that others use later must not keep the change.
enum OwnThread {
  static func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value {
    let work = Work(body)
    pthread_join(try spawn(work), nil)
    guard let result = work.result else { preconditionFailure("a thread ended without its result") }
    return try result.get()
  }

  /// The thread ends when `body` returns; nobody waits for it.
  static func start(_ body: @escaping @Sendable () -> Void) throws {
    pthread_detach(try spawn(Work(body)))
  }

  private static func spawn(_ work: AnyWork) throws -> pthread_t {
    var thread = pthread_t()
    let code = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        Unmanaged<AnyWork>.fromOpaque(argument).takeRetainedValue().perform()
        return nil
      }, Unmanaged.passRetained(work).toOpaque())
    guard code == 0 else {
      Unmanaged.passUnretained(work).release()
      throw NetworkNamespaceError(failing: "start a thread", errno: code)
    }
    return thread
  }

  private class AnyWork: @unchecked Sendable {
    func perform() {}
  }

  /// Written by the new thread, read by the caller after `pthread_join`, which orders the two.
  private final class Work<Value: Sendable>: AnyWork, @unchecked Sendable {
    let body: @Sendable () throws -> Value
    var result: Result<Value, any Error>?

    init(_ body: @escaping @Sendable () throws -> Value) { self.body = body }

    override func perform() { result = Result { try body() } }
  }
}
