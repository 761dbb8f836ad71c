import CLinux
import Glibc
import Synchronization

/// One thread that runs jobs in order, for system calls that block: they must not hold up the cooperative pool, which has
/// as many threads as the machine has cores.
///
/// It serves as an actor's executor, as a task's preferred one, or through `run`. The thread ends when nobody holds the
/// object any more and all jobs are done.
public final class BlockingThread: SerialExecutor, TaskExecutor {
  private let queue = JobQueue()

  public init(name: String = "iov-blocking") {
    startThread(named: name, stackBytes: 512 << 10) { [queue] in
      while let job = queue.next() { job() }
    }
  }

  deinit { queue.close() }

  public func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    // The closure keeps the executor alive while the job that names it has not run.
    queue.add { [self] in
      job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
    }
  }

  public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
  public func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }

  /// Runs `body` on the thread, after everything that was asked before.
  public func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    let work = Work(body)
    return try await withCheckedThrowingContinuation { continuation in
      queue.add { continuation.resume(with: Result { try work.run() }) }
    }
  }

  /// Runs `body` on the thread, after everything that was asked before, and does not wait for it.
  public func start(_ body: @escaping @Sendable () -> Void) { queue.add(body) }

  /// Runs `body` on a thread of its own, which ends with it: for calls that may take long and are independent.
  public static func detached<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
  ) async throws -> Value {
    let work = Work(body)
    return try await withCheckedThrowingContinuation { continuation in
      startThread(named: "iov-blocking", stackBytes: 256 << 10) {
        continuation.resume(with: Result { try work.run() })
      }
    }
  }
}

/// What is run once, and has let go of all that it captured when whoever waits for it goes on: the last owner of a thing may be
/// the one who waits, and expects it to be gone with him.
private final class Work<Value: Sendable>: Sendable {
  private let body: Mutex<(@Sendable () throws -> Value)?>

  init(_ body: @escaping @Sendable () throws -> Value) { self.body = Mutex(body) }

  func run() throws -> Value {
    guard let body = body.withLock({ $0.take() }) else { preconditionFailure("run twice") }
    return try body()
  }
}

/// Jobs for one thread. A condition variable, because the thread has nothing else to wait for.
private final class JobQueue: Sendable {
  private struct State {
    var jobs: [@Sendable () -> Void] = []
    var isClosed = false
  }

  private let state = Mutex(State())
  // Counts jobs and the closing. `Mutex` has no condition variable, and a semaphore needs no lock of its own.
  private let available: Semaphore = Semaphore()

  func add(_ job: @escaping @Sendable () -> Void) {
    state.withLock { $0.jobs.append(job) }
    available.signal()
  }

  func close() {
    state.withLock { $0.isClosed = true }
    available.signal()
  }

  func next() -> (@Sendable () -> Void)? {
    while true {
      available.wait()
      let (job, isClosed) = state.withLock { state in
        (state.jobs.isEmpty ? nil : state.jobs.removeFirst(), state.isClosed)
      }
      if let job { return job }
      if isClosed { return nil }
    }
  }
}

/// A POSIX semaphore. Unchecked: the kernel and Glibc order all access to it.
private final class Semaphore: @unchecked Sendable {
  private let storage = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

  init() {
    storage.initialize(to: sem_t())
    precondition(sem_init(storage, 0, 0) == 0, "sem_init of zero does not fail")
  }

  deinit {
    sem_destroy(storage)
    storage.deallocate()
  }

  func signal() { sem_post(storage) }

  func wait() {
    while sem_wait(storage) < 0 && errno == EINTR {}
  }
}

/// Starts a detached thread. Without memory for one nothing here can go on, so that ends the process.
func startThread(named name: String, stackBytes: Int, _ body: @escaping @Sendable () -> Void) {
  final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }
  var attributes = pthread_attr_t()
  pthread_attr_init(&attributes)
  pthread_attr_setdetachstate(&attributes, CInt(PTHREAD_CREATE_DETACHED))
  pthread_attr_setstacksize(&attributes, stackBytes)
  defer { pthread_attr_destroy(&attributes) }
  var thread = pthread_t()
  let argument = Unmanaged.passRetained(Body(body)).toOpaque()
  let result = pthread_create(
    &thread, &attributes,
    { argument in
      guard let argument else { return nil }
      Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
      return nil
    }, argument)
  precondition(result == 0, "pthread_create: \(SystemCallError.reason(result))")
  iov_name_thread(thread, name)
}
