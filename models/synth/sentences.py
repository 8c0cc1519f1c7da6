"""Our own plain English sentences, rich in sounds: one list to train on, one to hold out."""

from __future__ import annotations

from models.synth.agent_sentences import AGENT

TRAINING: tuple[str, ...] = AGENT + tuple(
    line.strip()
    for line in """
The baker put a warm loaf of bread on our table.
Maybe we could meet by the pond before breakfast.
Peter brought a big bag of apples home from the farm.
I believe the purple umbrella belongs to Mabel.
Would you please pass me the pepper and the butter?
Five fluffy foxes followed the farmer over the hill.
We have never driven that far into the valley.
The vet gave the brave puppy a very small vitamin.
Fresh fish is served every Friday from five until half past eight.
Vivian loved the view above the wide river.
They thought that both brothers were at the theatre.
This path leads through the thick forest to the north.
Thirty people gathered there on a Thursday night.
Is that the other leather bag, or is this the one?
Nothing is smoother than the feather of a young bird.
She showed us a shiny shell from the sandy shore.
Which chair did the teacher choose for the church?
George changed the large engine in his garage.
The children watched a joyful show on television.
Fish and chips should be cheap and rich in salt.
We went to watch the whales swim westward in winter.
Wake up, the weather is wonderful today.
One quick question: where were you on Wednesday?
The queen wore a white woollen coat.
Why would anyone walk twelve miles without water?
You used to play the flute in a huge music hall.
A few new students joined us for soup at noon.
Who threw the blue shoe into the swimming pool?
The moon moved slowly above the smooth lagoon.
Two cool spoons fell from the wooden stool.
Old Joe rode alone along the lonely road.
Go home, close the window, and phone your mother.
Snow rolled over the slope and froze on the boat.
I hope the old coat will keep you warm tomorrow.
No one knows how far those oceans go.
How about a walk around the fountain in town?
The brown cow found its way out of the cloud of dust.
Our house stands on a mound just south of the tower.
He shouted so loudly that the whole crowd turned around.
Now the sound of thunder surrounds the mountain.
My father parked the car far from the market.
Calm palms stand in the garden behind the barn.
The artist started with a dark charcoal mark.
Ask Martha for the jar of hot sauce on the top shelf.
Far stars sparkle above the large harbour.
Keep the green seeds clean and feed the three sheep.
She reads at least three pages each evening.
Please leave the keys beneath the seat.
The team agreed to meet at the beach this week.
Each of these machines needs a piece of steel.
It is a simple trick, if you think a little bit.
Six busy kids visited the little city museum.
His sister fixed the broken window in a minute.
Bring the milk, the fish, and the thin biscuits.
The big ship will begin its trip in spring.
The cat sat flat on the black mat and napped.
Pack the maps, the hats, and a lamp for the camp.
Dan grabbed a handful of salad and laughed.
That bad habit makes my dad rather angry.
Jack asked Anna for a plan of the land.
Ten red hens left the shed and went to bed.
Ben said the bell has been dead since September.
Let me tell you about the best friend I ever met.
The bread smells fresh, so get yourself a slice.
Every lesson ends with the same gentle question.
Boys enjoy noisy toys, and so do their fathers.
The oil was boiling when I heard her voice.
Pour some more water on the four short stalks of corn.
All morning long the storm poured over the north coast.
Her first word was bird, and her third was purple.
The nurse turned early and heard the earth murmur.
Girls were learning German verbs at work.
Some of us must run up the muddy slope at once.
The summer sun comes up above a dozen huts.
Mother cut the onion and rubbed it with butter.
Look, the good cook took the book from the bush.
He could have pulled the hook, but he pushed it.
Put your foot on the wooden board and look up.
The plumber moved the pump because the pipe was damp.
Bob's job is to pump up the balloons for the fair.
Pam may be able to mop up the puddle by the pub.
Mum baked a plum pie and a pumpkin cake.
A big bumblebee bumped into my bathroom mirror.
People at the bus stop complained about the bumpy trip.
The map on the cupboard shows the shape of the bay.
Apart from Bill, everyone brought a proper cup.
A bubble popped up from the bottom of the lamp.
My problem is that both maps appear to be upside down.
Improve the paper before you publish it, please.
Keep calm, keep breathing, and keep moving.
We cover the cake with cream and crisp cookies.
The clock on the kitchen counter kept ticking.
Carry the kettle carefully across the carpet.
Quick, kick the can back into the corner.
A good dog dug a deep ditch in the garden.
Give the guest a big glass of grape juice.
The goat began to gallop towards the gate.
Tell Tom to take the letter to the hotel.
It takes two tall trucks to transport the tent.
Did David really decide to drive a red truck?
Today the doctor told Daisy to lie down.
Nine new neighbours moved into the narrow lane.
No sound came from the tunnel until the train ran in.
Singing along makes a long evening shorter.
The king was bringing a strong string for the ring.
Long ago, young singers hung lanterns along the wall.
Little Lily likes yellow lilies and tall tulips.
The lake lies still below the hills until daylight.
Silver leaves fell on the lawn all day long.
Red roses are really rare around here.
Robert wrote a rough report about rural roads.
The rain ran from the roof right into the barrel.
Harriet heard him hurry home through the hall.
He has half a hundred hats behind the house.
Yes, the young lawyer yelled at you yesterday.
Your yard is full of yellow onions this year.
The jury judged the project with great joy.
Imagine a jungle of orange and violet plants.
A measured vision usually leads to a good decision.
It was a pleasure to watch the treasure rise from the sea.
His beige jacket was on television last night.
Exactly six taxis waited next to the exit.
Explain the text before the next exam, please.
The fox fixed a box of mixed fruit for lunch.
Suddenly the zebra squeezed through the zigzag fence.
Zoe's cousin was amazed by the size of the zoo.
These noisy bees buzz around the rose bushes.
Stop the bus beside the second street lamp.
Six sisters sat silently inside the small station.
Splash some fresh water on those strong sprouts.
The strange script scrolls straight across the screen.
Spring brings splendid scenes to this street.
Crisp crusts crackle when the cook cracks them.
The months of the fifth and sixth expeditions were the hardest.
Clothes and cloths are not the same thing.
What time does the first train leave for the coast?
Could we talk about the budget after lunch?
I am sorry, but I did not catch your name.
Thank you very much for calling us back so soon.
Good evening, and welcome to our weekly programme.
Here is the weather forecast for the whole weekend.
Let us begin with a short story about my family.
The first chapter opens on a quiet summer morning.
That is a wonderful idea, and we should try it.
You can reach me by phone, by mail, or at my office.
Please hold on for a moment while I check that for you.
I would like to order two coffees and a bowl of soup.
Turn left at the bakery, then walk past the old bridge.
The answer is simple, although few people believe it.
How many months have you been working on this film?
My brother and I bought our first boat in February.
Nobody told me that the museum closes on Monday.
We planted beans, peppers, and a lemon tree.
If you press the blue button, the door will open.
The battery lasts for about five hours of video.
Never leave a burning fire without someone to watch it.
She paints mountains, villages, and people at work.
Remember to bring an umbrella, because it may pour.
The report covers food, fuel, and farm products.
He whispered something about a map and vanished.
A thousand thoughts ran through her mind at once.
The orchestra played softly while the curtain rose.
Above all, a leader must be able to listen.
Several boats were moving from harbour to harbour.
Try the mushroom pie, it is better than it looks.
Our team improved the pump within a few weeks.
The bus was empty apart from a man with a violin.
Whatever happens, we will meet beneath the clock.
The village shop sells fruit, paper, and warm gloves.
Most people prefer a window seat on a long flight.
The puppy jumped up and put both paws on my lap.
Everything in this room was made by hand.
They moved from a big flat to a farm by the river.
Our plane approached the airport from above the bay.
What a marvellous view of the bridge by night!
Did you ever hear about the man who lived on a boat?
The potter shaped a broad bowl from soft clay.
Before supper, Emma fed the rabbits some cabbage.
Both paths meet again behind the mill.
My favourite film is about a lamp that could talk.
Half of the audience left before the final scene.
Move the lever forward and wait for the beep.
I promise to be back before the bells ring.
The wolves howled while we waited by the fire.
A humble man may become a famous composer.
Some mammals, such as bats, can fly by night.
The bread was fluffy, the jam was sweet, and I was happy.
We will probably arrive between four and half past.
Ships from five harbours bring pepper and rubber.
Mix the flour with milk, then add a bit of butter.
Have you ever been in a cave below the sea?
The power failed, so we lit a couple of lamps.
Few moments in life are as peaceful as this one.
Our map is wrong, for the path ends by the swamp.
She whistled a tune, waved, and walked away.
""".strip().splitlines()
)

HELD_OUT: tuple[str, ...] = tuple(
    line.strip()
    for line in """
The mayor opened the new public library this morning.
My bike needs a pump, a bell, and a better lamp.
Have you finished the puzzle that Philip gave you?
A warm breeze moved the boats in the empty bay.
Both of my uncles work in a paper factory.
The bees in the field make excellent honey.
Please wait outside until the film is over.
We found a pair of gloves under the cupboard.
It would be foolish to climb that wall in the dark.
Bring your guitar, and we will sing by the fire.
The shopkeeper wrapped the bottle in brown paper.
What is the fastest way to the football stadium?
They usually watch the news before supper.
A thin layer of ice covered the fish pond.
My grandmother remembers every single birthday.
Choose a number between seventy and eighty-five.
The pilot spoke calmly and we all felt better.
Could you lower the volume a little bit, please?
Jupiter is the largest planet that we can see.
The mechanic found a hole in the rubber pipe.
She thanked them for their help and drove away.
Our cousin moved to Vienna in the middle of May.
The boy with the yellow jumper owns three rabbits.
Some paths are too rough for a normal car.
I have no doubt that the plan will work.
The painter mixed a bright orange with pale blue.
Those clouds mean that we may get a bit of rain.
Who left the milk on the bench overnight?
The choir practised a beautiful old melody.
Keep the map in your pocket, just in case.
Seven swans flew over the abbey at sunset.
The judge asked for silence in the crowded room.
Would you rather have plums or a bowl of berries?
The story began with a knock at the front door.
He measured the shelf twice before he cut the board.
Fifty people applauded when the curtain fell.
The ferry leaves from pier five at noon.
A good map saves both time and money.
You must never give up a dream like that.
The chef peeled a pound of potatoes for the soup.
""".strip().splitlines()
)
