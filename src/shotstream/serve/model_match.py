"""Tell whether the server's model can continue a story; stories of other models are only shown."""

from dataclasses import replace

from shotstream.api import Model
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.serve.errors import RequestError
from shotstream.serve.store import Store
from shotstream.story.record import RECORD_FILE
from shotstream.story.repair import load_record


class ModelMatch:
    """Records which model made each story of a server. May be used from any thread."""

    def __init__(self, store: Store, model: Model) -> None:
        self._store = store
        self._sampler, self._model = to_dict(model.config.sampler), model.parts.fingerprint
        self._own = () if model.guidance is None else ("guidance",)  # settings that each story has of its own
        self._other_model: dict[str, bool] = {}

    def is_by_other_model(self, story: str) -> bool:
        """Return whether a story was made by other weights or steps; False for a damaged one, or one without a shot."""
        if story not in self._other_model:
            path = self._store.directory(story) / RECORD_FILE
            try:
                record = load_record(path.parent)
            except InputError:
                return False
            if not record.begun:
                return False
            own = {name: value for name, value in record.identity.sampler.items() if name in self._own}
            here = replace(record.identity, sampler={**self._sampler, **own}, model=self._model)
            self._other_model[story] = record.identity.difference(here) is not None
        return self._other_model[story]

    def check(self, story: str) -> None:
        """Raise RequestError for a story that cannot be continued."""
        if self.is_by_other_model(story):
            raise RequestError("invalid", "the story was made by another model; watch or export it from the list")
