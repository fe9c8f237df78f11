from tests.recorded import record

record()
